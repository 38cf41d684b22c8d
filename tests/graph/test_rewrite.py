import keras
import numpy as np
import pytest
from keras import layers, ops

from tests import checks
from tfcompress.errors import InputError
from tfcompress.graph import Graph, clone, lower, rewrite
from tfcompress.layers import BinaryConv2D, BinaryDense, LowRankDense


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def sequential():
    return keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    )


def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([layers.ReLU()(x), inputs])
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def shared():
    inputs = keras.Input((6,))
    dense = layers.Dense(6, activation="tanh")
    return keras.Model(inputs, dense(dense(inputs)))


def sequential_in_functional():
    inputs = keras.Input((6,))
    block = keras.Sequential([keras.Input((6,)), layers.Dense(6), layers.ReLU()])
    return keras.Model(inputs, layers.Dense(2)(block(block(inputs))))


def functional_in_functional_in_sequential():
    inner_inputs = keras.Input((6,))
    inner = keras.Model(inner_inputs, layers.Dense(5, name="deep")(inner_inputs))
    middle_inputs = keras.Input((6,))
    middle = keras.Model(middle_inputs, layers.Dense(4, name="deep")(inner(middle_inputs)))
    return keras.Sequential([keras.Input((6,)), middle, layers.Dense(3, name="deep")])


def called_by_keyword():
    inputs = keras.Input((6,))
    block = keras.Sequential([keras.Input((6,)), layers.Dense(6)])
    return keras.Model(inputs, block(inputs=inputs))


def keras_ops():
    x = inputs = keras.Input((6,))
    y = layers.Dense(6)(x)
    y = ops.where(y > 0, y, 0.1 * y) + x * 2 - np.arange(6, dtype="float32")
    y = ops.concatenate([y, ops.flip(y, axis=-1)], axis=-1)
    return keras.Model(inputs, ops.mean(ops.reshape(y, (-1, 3, 4)), axis=1))


def named_like_its_input():
    inner_inputs = keras.Input((6,), name="inner")
    inner = keras.Model(inner_inputs, layers.Dense(6, name="image")(inner_inputs))
    inputs = keras.Input((6,), name="image")
    return keras.Model(inputs, inner(inputs))


def operations_named_alike():
    """Keras counts automatic names afresh in each process; a loaded model keeps its old ones."""
    inner_inputs = keras.Input((6,), name="inner")
    keras.utils.clear_session()
    inner = keras.Model(inner_inputs, inner_inputs + 1)
    inputs = keras.Input((6,), name="outer")
    keras.utils.clear_session()
    return keras.Model(inputs, inner(inputs) + 2)


def frozen():
    model = residual()
    model.trainable = False
    return model


def words_to_features(mask_zero):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=mask_zero)(inputs)
    return keras.Model(
        inputs, layers.GlobalAveragePooling1D()(layers.LSTM(3, return_sequences=True)(x))
    )


MODELS = [
    sequential,
    residual,
    shared,
    sequential_in_functional,
    functional_in_functional_in_sequential,
    called_by_keyword,
    keras_ops,
    named_like_its_input,
    operations_named_alike,
    frozen,
]


@pytest.mark.parametrize("make", MODELS)
def test_clone_gives_equal_outputs(make):
    model = make()
    x = draw((3, *model.input_shape[1:]))
    copy = clone(model)
    assert copy.name == model.name
    np.testing.assert_array_equal(checks.predict(copy, x), checks.predict(model, x))


@pytest.mark.parametrize("make", MODELS)
def test_clone_is_flat_and_its_names_are_unique(make):
    copy = clone(make())
    assert not any(isinstance(layer, keras.Model) for layer in copy.layers)
    names = [operation.name for operation in copy.operations]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("make", [residual, shared, functional_in_functional_in_sequential])
def test_clone_has_weights_of_its_own(make):
    model = make()
    before = model.get_weights()
    copy = clone(model)
    copy.set_weights([weight + 1 for weight in copy.get_weights()])
    checks.assert_same(model.get_weights(), before)
    assert not {id(weight) for weight in model.weights} & {id(weight) for weight in copy.weights}


def test_clone_can_have_new_weights():
    model = sequential()
    old, new = model.get_weights()[0], clone(model, keep_weights=False).get_weights()[0]
    assert old.shape == new.shape
    assert (old != new).all()


def test_clone_keeps_what_is_shared():
    copy = clone(shared())
    assert copy.count_params() == 6 * 6 + 6
    assert len(copy.layers) == 2  # the input and one dense layer


def test_clone_keeps_what_is_frozen():
    copy = clone(frozen())
    assert copy.trainable_weights == []
    assert len(copy.weights) == 2 + 4


def test_clone_passes_masks_on():
    model, unmasked = words_to_features(True), words_to_features(False)
    unmasked.set_weights(model.get_weights())
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 0]])
    expected = checks.predict(model, words)
    checks.assert_same(checks.predict(clone(model), words), expected)
    assert not np.allclose(checks.predict(unmasked, words), expected)


def test_clone_keeps_structures_of_inputs_and_outputs():
    inputs = {"left": keras.Input((4,), name="left"), "right": keras.Input((4,), name="right")}
    total = layers.Dense(3)(inputs["left"]) - layers.Dense(3)(inputs["right"])
    model = keras.Model(inputs, {"total": total, "parts": [total * 2, inputs["left"]]})
    x = {"left": draw((2, 4)), "right": draw((2, 4), 1)}
    checks.assert_same(checks.predict(clone(model), x), checks.predict(model, x))


def test_clone_maps_a_nested_models_inputs_by_name():
    """A nested model with a list of inputs may be called with a dictionary."""
    minuend, subtrahend = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    inner = keras.Model([minuend, subtrahend], layers.Subtract()([minuend, subtrahend]))
    inputs = [keras.Input((4,)), keras.Input((4,))]
    model = keras.Model(inputs, inner({"z": inputs[0], "a": inputs[1]}))
    x = [draw((2, 4)), draw((2, 4), 1)]
    np.testing.assert_array_equal(checks.predict(clone(model), x), x[0] - x[1])


def test_a_clone_can_be_saved(tmp_path):
    model = clone(keras_ops())
    x = draw((3, 6))
    loaded = checks.save_and_load(model, tmp_path)
    checks.assert_same(checks.predict(loaded, x), checks.predict(model, x))


def test_what_adapted_layers_compute_with_is_cloned():
    adapted = layers.Normalization()
    adapted.adapt(draw((50, 4)) * 3 + 2)
    model = keras.Sequential([keras.Input((4,)), adapted])
    batch = draw((5, 4), seed=1)
    checks.assert_same(checks.predict(clone(model), batch), checks.predict(model, batch))


def test_mobilenet_v2_is_cloned():
    model = keras.applications.MobileNetV2((64, 64, 3), weights=None, alpha=0.35)
    x = draw((1, 64, 64, 3))
    copy = clone(model)
    assert copy.count_params() == model.count_params()
    checks.assert_same(checks.predict(copy, x), checks.predict(model, x), atol=1e-7)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


class Unwritable(layers.Layer):
    def __init__(self, function):
        super().__init__(name="unwritable")
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


@pytest.mark.parametrize("use", [clone, lower, Graph.of, lambda model: rewrite(model, {})])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Subclassed(name="mine"), "'mine' is subclassed and has no graph"),
        (
            lambda: keras.Sequential([layers.Dense(1)], name="bare"),
            "'bare' has no input shape: build it",
        ),
        (lambda: layers.Dense(1), "expected a Keras model; got Dense"),
        (lambda: "model.keras", "expected a Keras model; got str"),
    ],
)
def test_what_has_no_graph_is_refused(make, message, use):
    with pytest.raises(InputError, match=message):
        use(make())


def test_layers_that_cannot_be_copied_are_named():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Unwritable(abs)(inputs))
    message = r"\(Unwritable\) can't be copied .* unwritable.call\(x\) for unwritable\(x\)"
    with pytest.raises(InputError, match=message):  # One line.
        clone(model)


def test_rewrite_replaces_by_name_and_shares_the_rest():
    x = inputs = keras.Input((6,))
    x = layers.Dense(5, name="first")(x)
    x = layers.ReLU(name="act")(x)
    model = keras.Model(inputs, layers.Dense(2, name="last")(x))
    rewritten = rewrite(model, {"act": lambda x: x * -1})
    names = [layer.name for layer in rewritten.layers[1:]]
    assert names == ["first", "last"]
    assert rewritten.get_layer("first") is model.get_layer("first")
    (w1, b1), (w2, b2) = (model.get_layer(name).get_weights() for name in ("first", "last"))
    batch = draw((3, 6))
    expected = -(batch @ w1 + b1) @ w2 + b2
    np.testing.assert_allclose(checks.predict(rewritten, batch), expected, rtol=1e-4, atol=1e-5)


def test_rewrite_hands_the_arguments_on():
    left, right = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([left, right], layers.Concatenate(name="join")([left, right]))
    rewritten = rewrite(model, {"join": lambda pair: pair[0] * 10 + pair[1]})
    x = [draw((2, 3)), draw((2, 3), 1)]
    checks.assert_same(checks.predict(rewritten, x), x[0] * 10 + x[1])


def test_rewrite_reaches_into_nested_models():
    inputs = keras.Input((3,))
    block = keras.Sequential([keras.Input((3,)), layers.ReLU(name="act")])
    model = keras.Model(inputs, block(inputs))
    x = draw((2, 3))
    checks.assert_same(checks.predict(rewrite(model, {"act": lambda x: x + 1}), x), x + 1)


def test_rewrite_refuses_names_that_mean_two_layers():
    with pytest.raises(InputError, match="has layers of the same name: clone it first"):
        rewrite(functional_in_functional_in_sequential(), {})


def binary_twins(name="same"):
    """A nested binary layer and an outer one, of the same shape and name."""
    inner_inputs = keras.Input((6, 6, 3))
    inner = keras.Model(inner_inputs, BinaryConv2D(3, 1, name="same")(inner_inputs))
    inputs = keras.Input((6, 6, 3))
    return keras.Model(inputs, BinaryConv2D(3, 1, name=name)(inner(inputs)))


def binary_net():
    x = inputs = keras.Input((9, 8, 3))
    x = layers.Conv2D(4, 3)(x)
    x = BinaryConv2D(4, 3, padding="same", name="conv")(x)
    x = BinaryConv2D(4, 3, strides=2, padding="same", binarize_inputs=False)(x) + 1
    x = layers.Flatten()(x)
    return keras.Model(inputs, BinaryDense(5, binarize_kernel=False)(BinaryDense(7)(x)))


@pytest.mark.parametrize("activations", ["signed", "unit"])
@pytest.mark.parametrize("make", [binary_net, binary_twins, lambda: binary_twins("other")])
def test_lower_gives_the_same_function_in_stock_layers(make, activations):
    model = make()
    lowered = lower(model, activations=activations)
    assert all(type(layer).__module__.startswith("keras.") for layer in lowered.layers)
    assert not any(isinstance(layer, BinaryConv2D | BinaryDense) for layer in lowered.layers)
    x = checks.away_from_sign_flips(model, lambda seed: draw((2, *model.input_shape[1:]), seed))
    checks.assert_same(checks.predict(lowered, x), checks.predict(model, x))


def test_lower_of_a_shared_layer_stays_shared():
    inputs = keras.Input((6, 6, 3))
    conv = BinaryConv2D(3, 3, padding="same")
    model = keras.Model(inputs, conv(conv(inputs)))
    lowered = lower(model)
    assert sum(isinstance(layer, layers.Conv2D) for layer in lowered.layers) == 1
    x = checks.away_from_sign_flips(model, lambda seed: draw((2, 6, 6, 3), seed))
    checks.assert_same(checks.predict(lowered, x), checks.predict(model, x))


def test_lower_beside_operations_whose_names_it_would_take():
    """As for a model that was loaded into a new process: it has a `where`, and `lower` adds one."""
    inputs = keras.Input((6, 6, 3))
    keras.utils.clear_session()
    x = ops.where(inputs > 0, inputs, 2 * inputs)
    model = keras.Model(inputs, BinaryConv2D(3, 3, padding="same")(x))
    keras.utils.clear_session()
    lowered = lower(model)
    batch = draw((2, 6, 6, 3))
    checks.assert_same(checks.predict(lowered, batch), checks.predict(model, batch))


def test_lowering_beside_a_layer_of_the_lowered_name():
    inputs = keras.Input((8,), name="x")
    x = layers.Dense(8, name="dense_in")(inputs)
    model = keras.Model(inputs, LowRankDense(8, rank=2, name="dense")(x))
    lowered = lower(model)
    assert [layer.name for layer in lowered.layers] == ["x", "dense_in", "dense_in_1", "dense"]
