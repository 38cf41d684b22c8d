"""Loss and metrics that follow from a model's outputs and its targets, or from its compilation."""

import keras
import numpy as np
import pytest

from tfcompress.data.as_fit import as_fit
from tfcompress.errors import InputError
from tfcompress.training.objective import class_numbers, compiled_objective, inferred_objective
from tfcompress.training.signature import check_inputs, input_caster

X = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
LABELS = np.arange(20) % 3


def net(*outputs, **named):
    """A model with outputs of (units, activation)."""
    inputs = keras.Input((6,), name="row")
    made = [keras.layers.Dense(units, activation)(inputs) for units, activation in outputs]
    by_key = {
        key: keras.layers.Dense(units, activation)(inputs)
        for key, (units, activation) in named.items()
    }
    return keras.Model(inputs, by_key or (made[0] if len(made) == 1 else made))


@pytest.mark.parametrize(
    ("output", "targets", "loss", "from_logits", "classes", "one_label"),
    [
        ((3, None), LABELS, "SparseCategoricalCrossentropy", True, True, True),
        ((3, "softmax"), LABELS[:, None], "SparseCategoricalCrossentropy", False, True, True),
        ((3, "softmax"), LABELS.astype(float), "SparseCategoricalCrossentropy", False, True, True),
        ((3, "softmax"), np.eye(3)[LABELS], "CategoricalCrossentropy", False, True, True),
        ((3, None), np.eye(3)[LABELS], "CategoricalCrossentropy", True, True, True),
        ((3, "sigmoid"), np.eye(3)[LABELS], "BinaryCrossentropy", None, False, False),
        ((1, "sigmoid"), LABELS > 0, "BinaryCrossentropy", None, False, False),
        ((1, None), X[:, 0], "MeanSquaredError", None, False, False),
        ((6, None), X, "MeanSquaredError", None, False, False),
        ((6, "sigmoid"), X - X.min(), "MeanSquaredError", None, False, False),
    ],
)
def test_the_loss_follows_from_the_targets(output, targets, loss, from_logits, classes, one_label):
    goal = inferred_objective(net(output), as_fit((X, targets)))
    assert type(goal.loss).__name__ == loss
    assert goal.classes == (classes,)
    assert goal.one_label is one_label
    if from_logits is not None:
        assert goal.loss.get_config()["from_logits"] is from_logits


def test_each_place_of_an_image_has_a_class():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1, activation="softmax")(inputs))
    images = np.zeros((20, 8, 8, 1))
    for mask in (images[..., 0].astype(int), images.astype(int)):
        goal = inferred_objective(model, as_fit((images, mask)))
        assert type(goal.loss).__name__ == "SparseCategoricalCrossentropy"
        assert not goal.one_label


def test_several_outputs_by_order_or_by_key():
    data = as_fit((X, (LABELS, X[:, 0])), outputs=2)
    goal = inferred_objective(net((3, "softmax"), (1, None)), data)
    kinds = [type(loss).__name__ for loss in goal.loss]
    assert kinds == ["SparseCategoricalCrossentropy", "MeanSquaredError"]
    assert goal.classes == (True, False)
    named = inferred_objective(
        net(value=(1, None), kind=(3, "softmax")), as_fit((X, {"value": X[:, 0], "kind": LABELS}))
    )
    assert type(named.loss["kind"]).__name__ == "SparseCategoricalCrossentropy"
    assert type(named.loss["value"]).__name__ == "MeanSquaredError"


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        ([(3, None)], None, r"no targets to train 'functional.*give \(x, y\)"),
        ([(3, None)], LABELS + 1, r"labels are 1\.\.3, .* 3 classes, 0\.\.2: subtract 1 from them"),
        ([(3, None)], LABELS - 1, r"labels are -1\.\.1, and the model's output"),
        ([(4, None)], X, r"has the shape \(4,\) and its targets \(6,\)"),
        ([(3, None), (1, None)], LABELS, "has 2 outputs .* targets for 1"),
    ],
)
def test_targets_that_do_not_fit(outputs, targets, message):
    with pytest.raises(InputError, match=message):
        inferred_objective(net(*outputs), as_fit((X, targets) if targets is not None else X))


def test_a_model_without_a_loss_has_no_objective_of_its_own():
    model = net((3, "softmax"))
    assert compiled_objective(model) is None
    model.compile("adam")
    assert compiled_objective(model) is None


def test_metrics_are_copies():
    model = net((1, None))
    own = keras.metrics.RootMeanSquaredError("rms")
    model.compile("adam", "mse", metrics=[own, "mae"])
    goal = compiled_objective(model)
    first, name = goal.compile_arguments()["metrics"]
    assert first is not own
    assert (first.name, name) == ("rms", "mae")
    assert goal.values({"loss": 1.0, "rms": 2.0}, "train") == {"train_rms": 2.0}
    assert goal.values({"loss": 1.0, "rms": 2.0}, "test") == {"test_loss": 1.0, "test_rms": 2.0}


@pytest.mark.parametrize(
    ("loss", "one_label"),
    [
        ("sparse_categorical_crossentropy", True),
        (keras.losses.CategoricalCrossentropy(from_logits=True), True),
        (keras.losses.sparse_categorical_crossentropy, True),
        ("mse", False),
    ],
)
def test_the_compiled_loss_tells_classes(loss, one_label):
    model = net((3, None))
    model.compile("adam", loss)
    goal = compiled_objective(model)
    assert goal.one_label is one_label
    assert goal.classes == (one_label,)


def test_settings_by_the_name_of_the_one_output():
    """Techniques may put other layers at the model's end."""
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(x))
    model.compile("sgd", loss={"scores": "mse"}, metrics={"scores": ["mae"]})
    found = compiled_objective(model)
    assert (found.loss, found.metrics) == ("mse", ["mae"])
    named = keras.Model(x, {"scores": model.output})
    named.compile("sgd", loss={"scores": "mse"})
    assert compiled_objective(named).loss == {"scores": "mse"}


def test_class_numbers():
    for targets in (LABELS, LABELS[:, None], np.eye(3)[LABELS]):
        np.testing.assert_array_equal(class_numbers(targets), LABELS)


def test_inputs_are_brought_to_the_types_of_the_model():
    grey = keras.Input((4, 4, 1), name="grey")
    number = keras.Input((1,), dtype="int32", name="number")
    model = keras.Model([grey, number], keras.layers.Flatten()(grey))
    cast = input_caster(model)
    given = (np.zeros((5, 4, 4), "uint8"), np.zeros(5))
    for x in (given, dict(zip(("grey", "number"), given, strict=True))):
        image, values = keras.tree.flatten(cast(x))
        assert (image.shape, image.dtype) == ((5, 4, 4, 1), np.float32)
        assert (values.shape, values.dtype) == ((5, 1), np.int32)
        check_inputs(model, cast(x), "the data")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, :4], r"takes inputs of shape \(6,\), but those of the data are \(4,\)"),
        ((X, X), "has 1 inputs, but the data gives 2"),
        ({"line": X}, "takes the inputs row, but the data gives line"),
    ],
)
def test_inputs_that_the_model_does_not_take(x, message):
    with pytest.raises(InputError, match=message):
        check_inputs(net((3, None)), x, "the data")
