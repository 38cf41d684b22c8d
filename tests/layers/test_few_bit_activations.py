"""The layer: values by hand, three papers' gradients at the ends and beyond, files, lowering."""

import keras
import numpy as np
import pytest

from tests import checks
from tests.layers.compact import (
    assert_config_round_trip,
    assert_lowered_is_the_same,
    assert_same_after_saving,
    draw,
)
from tfcompress.layers import FewBitActivations

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((2,), (6, 4))
# In steps of a grid of 2 bits, whose ends are -2 and 1 with a sign, else 0 and 3.
STEPS = np.array([-2.6, -2.0, -0.4, 0.0, 0.4, 1.0, 1.3, 2.6, 3.0, 3.4], "float32")
STEP = 0.5


def layer_of(trained, signed=False, **options):
    layer = FewBitActivations(2, signed=signed, trained=trained, maximum=3 * STEP, **options)
    layer.build((None, 5))
    if signed:
        layer.scale.assign(STEP)
    return layer


def gradients(layer):
    """Of two examples of five values each, and upstream gradients that differ."""
    x = (STEPS * STEP).reshape(2, 5)
    upstream = np.arange(1.0, 11.0, dtype="float32").reshape(2, 5)
    return [
        np.asarray(each).ravel() for each in checks.layer_gradients(layer, x, upstream)
    ], upstream.ravel()


@pytest.mark.parametrize(
    ("trained", "signed"), [("step", False), ("step", True), ("clip", False), (None, False)]
)
def test_rounds_to_the_levels(trained, signed):
    layer = layer_of(trained, signed)
    low, high = (-2, 1) if signed else (0, 3)
    expected = np.clip(np.round(STEPS), low, high) * STEP
    np.testing.assert_allclose(np.asarray(layer(STEPS[None] * STEP))[0], expected, rtol=1e-6)
    assert layer.step_size() == STEP


@pytest.mark.parametrize("signed", [False, True])
def test_a_trained_steps_gradients(signed):
    (to_x, to_step), upstream = gradients(layer_of("step", signed))
    low, high = (-2, 1) if signed else (0, 3)
    inside = (low <= STEPS) & (high >= STEPS)
    np.testing.assert_allclose(to_x, upstream * inside)
    each = np.where(inside, np.round(STEPS) - STEPS, np.where(low > STEPS, low, high))
    # Five values an example: the batch doesn't count.
    np.testing.assert_allclose(to_step, (upstream * each).sum() / np.sqrt(5 * high), rtol=1e-5)


@pytest.mark.parametrize("trained", ["clip", None])
def test_a_bounds_gradients(trained):
    (to_x, *to_clip), upstream = gradients(layer_of(trained))
    np.testing.assert_allclose(to_x, upstream * ((STEPS >= 0) & (STEPS < 3)))
    if trained:
        np.testing.assert_allclose(to_clip[0], upstream[STEPS >= 3].sum())
    assert len(to_clip) == (trained is not None)


def test_a_fixed_grid_with_a_sign():
    layer = FewBitActivations(2, signed=True, trained=None, maximum=STEP)
    layer.build((None, 5))
    expected = np.clip(np.round(STEPS), -2, 1) * STEP
    np.testing.assert_allclose(np.asarray(layer(STEPS[None] * STEP))[0], expected, rtol=1e-6)
    (to_x,), upstream = gradients(layer)
    np.testing.assert_allclose(to_x, upstream * ((STEPS >= -2) & (STEPS <= 1)))


def test_the_penalty_is_the_bounds():
    layer = layer_of("clip", clip_l2=0.1)
    np.testing.assert_allclose(float(layer.losses[0]), 0.1 * (3 * STEP) ** 2, rtol=1e-6)


def test_starts_with_the_step_of_the_least_squares():
    layer = layer_of("step")
    values = np.abs(draw((50, 5)))
    layer.start(values)
    errors = {
        step: np.square(values - step * np.clip(np.round(values / step), 0, 3)).sum()
        for step in (layer.step_size(), *np.linspace(0.05, 2, 200))
    }
    assert errors[layer.step_size()] <= 1.02 * min(errors.values())


def test_an_open_size_trains_as_the_fixed_one_does():
    """The number of values of an example is known as the layer is called."""
    x = draw((2, 6, 4))
    moved = []
    for size in (6, None):
        model = keras.Sequential([keras.Input((size, 4)), FewBitActivations(2, maximum=0.8)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, np.zeros_like(x), verbose=0)
        moved.append(float(model.layers[0].scale))
    assert moved[0] != 0.8 / 3
    np.testing.assert_allclose(*moved, rtol=1e-6)


@pytest.mark.parametrize("trained", ["step", None])
def test_saves_and_lowers(trained, tmp_path):
    layer, x = layer_of(trained), draw((2, 5))
    assert_lowered_is_the_same(layer, x)
    assert_same_after_saving(layer, x, tmp_path)
    assert_config_round_trip(layer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bits": 9}, "num_bits must be from 1 to 8. Received: num_bits=9"),
        ({"num_bits": 1, "signed": True}, "num_bits must be from 2 to 8"),
        ({"trained": "bound"}, "trained must be None, 'step' or 'clip'"),
        ({"trained": "clip", "signed": True}, "signed is for trained='step'"),
        ({"maximum": 0.0}, "maximum must be positive"),
        ({"clip_l2": -1.0}, "clip_l2 must be 0 or more"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        FewBitActivations(**arguments)
