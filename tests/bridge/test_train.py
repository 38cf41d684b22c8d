import keras
import numpy as np
import pytest

from tfcompress import training
from tfcompress.bridge import to_tf_keras, train
from tfcompress.config import Distillation, Training
from tfcompress.data import from_arrays
from tfcompress.training import Stopped, TrainingContext, TrainingError

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3)).astype(np.uint8)
LABELS = np.arange(48) % 3


@pytest.fixture
def data():
    return from_arrays((PIXELS, LABELS))


def network(dropout=0.0, softmax=False):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, activation="softmax" if softmax else None),
    ]
    if dropout:
        layers.insert(-1, keras.layers.Dropout(dropout))
    return keras.Sequential(layers)


def settings(**changes):
    return Training(**{"epochs": 2, "batch_size": 16, "learning_rate": 0.01, **changes})


def test_the_step_is_traced_once(data):
    """A metric that makes its variables there would have TensorFlow trace it again."""
    model, steps = to_tf_keras(network()), []
    step = model.train_step
    model.train_step = lambda batch: steps.append(batch) or step(batch)
    train.fit(model, data, settings())
    assert len(steps) == 1


# Each two values of these three meet in one of the four.
@pytest.mark.parametrize(
    ("optimizer", "weight", "softmax"),
    [("adam", 0.0, False), ("adam", 0.7, True), ("sgd", 0.0, True), ("sgd", 0.7, False)],
)
def test_trains_as_keras_3_does(data, softmax, weight, optimizer):
    model, teacher = network(softmax=softmax), network()
    for kernel in teacher.trainable_weights:
        kernel.assign(2 * kernel)
    recipe = settings(distillation=Distillation(weight=weight), optimizer=optimizer)
    context = TrainingContext(teacher=teacher)
    copy = to_tf_keras(model)
    theirs = train.fit(copy, data, recipe, context, softmax=softmax)
    ours = training.fit(model, data, recipe, context)
    for mine, other in zip(ours, theirs, strict=True):
        # Keras reports the student's loss alone; with a teacher that is not the same number.
        keys = ("train_error", "test_error", "learning_rate", *(() if weight else ("loss",)))
        for key in keys:
            assert mine[key] == pytest.approx(other[key], abs=0.025 if "error" in key else 1e-3)
    for mine, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=3e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_goes_on_where_it_was(data, tmp_path, dropout):
    undisturbed = to_tf_keras(network(dropout))
    train.fit(undisturbed, data, settings(epochs=3))

    def stop(epoch, step, steps):
        if (epoch, step) == (2, 2):
            raise KeyboardInterrupt

    path = tmp_path / "state.npz"
    first = to_tf_keras(network(dropout))
    context = TrainingContext(checkpoint=path, on_step=stop)
    with pytest.raises(Stopped, match="1 of 3 epochs are kept"):
        train.fit(first, data, settings(epochs=3), context)
    again = to_tf_keras(network(dropout))
    rows = train.fit(again, data, settings(epochs=3), TrainingContext(checkpoint=path))
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for a, b in zip(undisturbed.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_differs_from_epoch_to_epoch(data):
    recipe = settings(epochs=1, learning_rate=1e-12)
    seeds = [
        train.fit(to_tf_keras(network(0.9)), data, recipe, TrainingContext(seed=seed))[0]["loss"]
        for seed in (0, 1, 0)
    ]
    assert seeds[0] == seeds[2] != seeds[1]


def test_a_loss_that_is_no_number(data):
    with pytest.raises(TrainingError, match="smaller --learning_rate"):
        train.fit(
            to_tf_keras(network()), data, settings(optimizer="sgd", learning_rate=1e30, epochs=3)
        )


def test_no_epochs(data):
    copy = to_tf_keras(network())
    before = copy.get_weights()
    assert train.fit(copy, data, settings(epochs=0)) == []
    for a, b in zip(before, copy.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_epoch_has_random_numbers_of_its_own(data, monkeypatch):
    seeds = []
    seed_epoch = train._seed_epoch
    monkeypatch.setattr(
        train, "_seed_epoch", lambda model, seed: (seeds.append(seed), seed_epoch(model, seed))
    )
    for seed in (0, 7):
        context = TrainingContext(seed=seed)
        train.fit(to_tf_keras(network(0.5)), data, settings(epochs=3), context)
    assert len(set(seeds)) == 6


def test_a_teacher_may_end_in_probabilities(data):
    """softmax(log(softmax(x)) / T) is softmax(x / T)."""
    logits, student = network(), network()
    logits.layers[-1].kernel.assign(3 * logits.layers[-1].kernel)
    probabilities = keras.Model(logits.inputs, keras.layers.Softmax()(logits.outputs[0]))
    recipe = settings(
        epochs=1, distillation=Distillation(weight=1.0), optimizer="sgd", learning_rate=0.1
    )
    copies = [to_tf_keras(student) for _ in range(2)]
    for copy, teacher in zip(copies, (logits, probabilities), strict=True):
        train.fit(copy, data, recipe, TrainingContext(teacher=teacher))
    for a, b in zip(*(copy.get_weights() for copy in copies), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    pairs = zip(student.get_weights(), copies[0].get_weights(), strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-3
