import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.config import Distillation, Training
from tfcompress.data import from_arrays
from tfcompress.data.as_fit import as_fit
from tfcompress.errors import InputError
from tfcompress.training import Stopped, TrainingContext, TrainingError, fit
from tfcompress.training.optimizers import make_optimizer

SETTINGS = Training(epochs=3, batch_size=32, learning_rate=1e-2)
SGD = dataclasses.replace(
    SETTINGS, optimizer="sgd", momentum=0.8, learning_rate_schedule="step", weight_decay=1e-3
)
DISTILLED = dataclasses.replace(SETTINGS, distillation=Distillation(weight=0.7))


def values(model):
    """Weights, batch statistics and the state of the random generators."""
    return [keras.ops.convert_to_numpy(v).copy() for v in model.variables]


def assert_equal(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def without_times(rows):
    return [{k: v for k, v in row.items() if k not in ("step_ms", "seconds")} for row in rows]


def test_learns(toy, build):
    model = build()
    rows = fit(model, toy, dataclasses.replace(SETTINGS, epochs=6))
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert rows[-1]["test_error"] < 0.2  # chance is 0.75
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        assert set(row) == {
            "epoch", "loss", "train_error", "test_error", "learning_rate", "step_ms", "seconds"
        }  # fmt: skip
        assert 0 <= row["train_error"] <= 1
        assert 0 <= row["test_error"] <= 1
        assert row["loss"] > 0
        assert 0 < row["step_ms"] < 1000 * row["seconds"]


def test_a_softmax_at_the_end_is_trained_as_one(toy, build):
    logits, softmax = build(), build(softmax=True)
    fit(logits, toy, SETTINGS)
    fit(softmax, toy, SETTINGS)
    for a, b in zip(logits.get_weights(), softmax.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("augmentation", ["none", "flip+shift"])
def test_one_seed_gives_equal_weights(toy, build, augmentation):
    def train(seed, model_seed=1):
        model = build(model_seed)
        first = model.get_weights()
        context = TrainingContext(seed=seed, augmentation=augmentation)
        rows = fit(model, toy, SETTINGS, context)
        return first, values(model), without_times(rows)

    _, weights, rows = train(4)
    _, again, rows_again = train(4)
    assert_equal(again, weights)
    assert rows_again == rows
    _, other, _ = train(5)
    assert not all(np.array_equal(a, b) for a, b in zip(other, weights, strict=True))


def test_the_seed_alone_decides_on_dropout(toy, build):
    """And not what the random generators of the layers, or Python's, were at before."""
    model = build(1)
    start = model.get_weights()
    fit(model, toy, SETTINGS, TrainingContext(seed=4))
    other = build(99)
    other.set_weights(start)
    fit(other, toy, SETTINGS, TrainingContext(seed=4))
    assert_equal(values(other), values(model))


def test_two_dropouts_draw_differently(toy):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(4)(layers.Dropout(0.5)(x)))
    fit(model, toy, dataclasses.replace(SETTINGS, epochs=1))
    first, second = (v for v in values(model) if v.shape == (2,))
    assert first[0] != second[0]


def test_augmentation_of_the_data_set_unless_another_is_given(toy, build):
    flipped = dataclasses.replace(toy, augmentation="flip")
    one_epoch = dataclasses.replace(SETTINGS, epochs=1)
    ways = [(flipped, None), (toy, "flip"), (flipped, "none"), (toy, None)]
    results = []
    for data, augmentation in ways:
        model = build()
        fit(model, data, one_epoch, TrainingContext(augmentation=augmentation))
        results.append(model.get_weights())
    assert_equal(results[0], results[1])
    assert_equal(results[2], results[3])
    assert not np.array_equal(results[0][0], results[2][0])


def test_the_old_keywords_work_for_one_more_version(toy, build):
    one_epoch = dataclasses.replace(SETTINGS, epochs=1)
    model, other = build(), build()
    context = TrainingContext(seed=4, teacher=build(7, filters=8), augmentation="flip")
    fit(model, toy, one_epoch, context)
    with pytest.warns(
        DeprecationWarning, match=r"takes TrainingContext\(seed=\.\.\., teacher="
    ) as seen:
        fit(other, toy, one_epoch, seed=4, teacher=context.teacher, augmentation="flip")
    assert seen[0].filename == __file__
    assert_equal(values(other), values(model))
    with pytest.raises(TypeError, match="sed"):
        fit(other, toy, one_epoch, sed=4)


class Crash(Exception):
    pass


@pytest.mark.parametrize(
    ("training", "augmentation", "raised"),
    [
        (SGD, "flip+shift", Crash),
        (DISTILLED, "flip+shift", Crash),
        (DISTILLED, "flip", Crash),
        (SETTINGS, "flip+shift", KeyboardInterrupt),
    ],
    ids=["sgd", "distilled", "distilled, the teacher's outputs kept", "adam, ctrl-c"],
)
def test_goes_on_where_it_was_stopped(toy, build, tmp_path, training, augmentation, raised):
    teacher = build(7, filters=8)
    context = TrainingContext(seed=4, teacher=teacher, augmentation=augmentation)
    undisturbed = build()
    expected = fit(undisturbed, toy, training, context)

    def stop(epoch, step, steps):
        assert steps == 4
        if (epoch, step) == (2, 3):
            raise raised

    path = tmp_path / "state.npz"
    seen = Stopped if raised is KeyboardInterrupt else Crash
    stopped = dataclasses.replace(context, checkpoint=path, on_step=stop)
    with pytest.raises(seen) as caught:
        fit(build(), toy, training, stopped)
    if seen is Stopped:
        assert str(caught.value) == "stopped by Ctrl-C; 1 of 3 epochs are kept"
    # As in a new process: other weights, and random generators in another state.
    model = build(50)
    reported, steps = [], []
    going_on = dataclasses.replace(
        context,
        checkpoint=path,
        on_epoch=reported.append,
        on_step=lambda *at: steps.append(at),
    )
    rows = fit(model, toy, training, going_on)
    assert_equal(values(model), values(undisturbed))
    assert without_times(rows) == without_times(expected)
    assert reported == rows
    assert steps == [(epoch, step, 4) for epoch in (2, 3) for step in (1, 2, 3, 4)]


def test_a_finished_checkpoint_trains_no_more(toy, build, tmp_path):
    path = tmp_path / "state.npz"
    model = build()
    rows = fit(model, toy, SETTINGS, TrainingContext(checkpoint=path))
    other = build(9)
    steps = []
    context = TrainingContext(checkpoint=path, on_step=lambda *at: steps.append(at))
    again = fit(other, toy, SETTINGS, context)
    assert again == rows
    assert steps == []
    assert_equal(values(other), values(model))


def test_ctrl_c_without_a_checkpoint(toy, build):
    def stop(*at):
        raise KeyboardInterrupt

    with pytest.raises(Stopped, match="stopped by Ctrl-C; nothing kept"):
        fit(build(), toy, SETTINGS, TrainingContext(on_step=stop))


@pytest.mark.parametrize("damage", ["truncated", "garbage", "another model", "more epochs"])
def test_unusable_checkpoints_leave_the_weights(toy, build, tmp_path, damage):
    path = tmp_path / "state.npz"
    training = dataclasses.replace(SETTINGS, epochs=2)
    context = TrainingContext(checkpoint=path)
    fit(build(filters=5 if damage == "another model" else 6), toy, training, context)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "garbage":
        path.write_bytes(b"garbage")
    elif damage == "more epochs":
        training = dataclasses.replace(training, epochs=1)
    content = path.read_bytes()
    model = build(3)
    before = model.get_weights()
    with pytest.raises(InputError, match=r"the checkpoint .*state\.npz (is|holds) .*remove it"):
        fit(model, toy, training, context)
    assert_equal(model.get_weights(), before)
    assert path.read_bytes() == content


def test_no_epochs_leave_the_weights(toy, build, tmp_path):
    model = build()
    before = model.get_weights()
    path = tmp_path / "state.npz"
    assert fit(model, toy, Training(epochs=0), TrainingContext(checkpoint=path)) == []
    assert_equal(model.get_weights(), before)
    assert not path.exists()


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (1e38, r"the loss became nan in epoch 1, step 2: try a smaller --learning_rate"),
        # Here the loss stays finite, but the batch statistics don't.
        (1e30, r"moving_variance isn't finite after epoch 1: try a smaller --learning_rate"),
    ],
)
def test_too_high_a_rate_is_named_with_its_epoch(toy, build, tmp_path, rate, message):
    wild = dataclasses.replace(SETTINGS, learning_rate=rate, optimizer="sgd")
    path = tmp_path / "state.npz"
    with pytest.raises(TrainingError, match=message):
        fit(build(), toy, wild, TrainingContext(checkpoint=path))
    assert not path.exists()


def test_loss_that_is_no_number_in_a_later_epoch(toy, build, tmp_path):
    path = tmp_path / "state.npz"
    model = build()

    def poison(epoch, step, steps):
        if (epoch, step) == (2, 1):
            model.layers[1].kernel.assign(np.full((3, 3, 3, 6), np.nan))

    with pytest.raises(TrainingError, match=r"became nan in epoch 2, step 2: .*--learning_rate"):
        fit(model, toy, SETTINGS, TrainingContext(checkpoint=path, on_step=poison))
    with np.load(path) as state:  # of the last good epoch
        assert all(np.isfinite(state[name]).all() for name in state.files if name != "rows")


def test_the_model_stays_as_it_was_compiled(toy, build):
    fresh = build()
    fit(fresh, toy, dataclasses.replace(SETTINGS, epochs=1))
    assert not fresh.compiled
    own = build()
    own.compile(keras.optimizers.SGD(0.5), loss="mse")
    optimizer = own.optimizer
    fit(own, toy, dataclasses.replace(SETTINGS, epochs=1))
    assert own.optimizer is optimizer
    assert own.loss == "mse"
    assert_equal(own.get_weights(), fresh.get_weights())


def test_takes_sequential_models(toy):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(4)])
    rows = fit(model, toy, dataclasses.replace(SETTINGS, epochs=4))
    assert rows[-1]["test_error"] < 0.3
    assert model.built


def test_a_batch_larger_than_the_data(toy, build):
    rows = fit(build(), toy, Training(epochs=1, batch_size=1000))
    assert np.isfinite(rows[0]["loss"])


def test_normalises_as_the_data_set_says(build):
    """Images of 0..255 must reach the net normalised, in training and in the test."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    data = from_arrays((images, np.arange(8) % 4), (images, np.arange(8) % 4))
    inputs = keras.Input((16, 16, 3))
    seen = layers.BatchNormalization(momentum=0.0)(inputs)
    model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(seen)))
    fit(model, data, Training(epochs=1, batch_size=8))
    np.testing.assert_allclose(model.layers[1].moving_mean, np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(model.layers[1].moving_variance, np.ones(3), atol=1e-4)


@pytest.mark.parametrize(
    ("schedule", "first", "half", "last"),
    [
        ("constant", 0.5, 0.5, 0.5),
        # (1 + cos(pi * share of the steps)) / 2
        ("cosine", 0.5, 0.25, 0.0),
        ("step", 0.5, 0.5, 0.05),
    ],
)
def test_schedules(schedule, first, half, last):
    training = Training(epochs=4, learning_rate=0.5, learning_rate_schedule=schedule)
    optimizer = make_optimizer(training, steps_per_epoch=5)
    rates = []
    for step in (0, 10, 20):
        optimizer.iterations.assign(step)
        rates.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    np.testing.assert_allclose(rates, [first, half, last], atol=1e-7)


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_rates_at_the_end_of_each_epoch(toy, build, schedule):
    training = Training(
        epochs=2, batch_size=32, learning_rate=0.01, learning_rate_schedule=schedule
    )
    rates = [row["learning_rate"] for row in fit(build(), toy, training)]
    # After 4 of 8 steps the step schedule still has its first rate: the next step has the second.
    expected = [0.005, 0.0] if schedule == "cosine" else [0.01, 0.001]
    np.testing.assert_allclose(rates, expected, atol=1e-8)


def test_optimizers_against_their_formulas():
    """Two steps on one weight with the gradient 2 and weight decay 0.1."""

    def steps(**settings):
        training = Training(
            learning_rate_schedule="constant", learning_rate=0.01, weight_decay=0.1, **settings
        )
        optimizer = make_optimizer(training, 1)
        weight = keras.Variable(np.float32([1.0]))
        optimizer.build([weight])
        for _ in range(2):
            optimizer.apply([keras.ops.convert_to_tensor(np.float32([2.0]))], [weight])
        return float(keras.ops.convert_to_numpy(weight)[0])

    weight, velocity = 1.0, 0.0
    for _ in range(2):
        weight -= 0.01 * 0.1 * weight
        velocity = 0.5 * velocity - 0.01 * 2.0
        weight += velocity
    assert steps(optimizer="sgd", momentum=0.5) == pytest.approx(weight, rel=1e-6)

    weight = 1.0
    for _ in range(2):  # With a constant gradient both moments' ratio is 1.
        weight -= 0.01 * 0.1 * weight
        weight -= 0.01
    assert steps(optimizer="adam") == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize("targets", [1, 2])
def test_the_step_is_traced_once(targets):
    """A metric that makes its variables there would have TensorFlow trace it again."""
    calls = []

    class Traced(layers.Layer):
        def call(self, inputs, training=False):
            calls.append(training)
            return inputs

    inputs = keras.Input((3,), name="x")
    x = Traced()(inputs)
    outputs = [layers.Dense(2, name=f"y{number}")(x) for number in range(targets)]
    model = keras.Model(inputs, outputs if targets > 1 else outputs[0])
    rng = np.random.default_rng(0)
    y = [rng.normal(size=(8, 2)).astype("float32") for _ in outputs]
    x = rng.normal(size=(8, 3)).astype("float32")
    split = (x, tuple(y) if targets > 1 else y[0])
    data = as_fit(split, split, outputs=targets)
    calls.clear()
    rows = fit(model, data, Training(epochs=2, batch_size=4))
    assert [calls.count(True), calls.count(False)] == [1, 1]  # Trained and judged.
    assert len(rows) == 2
    assert rows[1]["loss"] < rows[0]["loss"]
