"""The wrapper: values by hand, the paper's gradients at the ends and beyond, files, lowering."""

import keras
import numpy as np
import pytest

from tests import checks
from tests.layers.compact import (
    assert_config_round_trip,
    assert_every_weight_moves_from_here,
    assert_lowered_is_the_same,
    assert_same_after_saving,
    draw,
    numbers,
)
from tests.layers.test_ternary_weights import KINDS, kinds
from tfcompress.layers import LearnedStepWeights

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = (lambda: (keras.layers.Dense(3), 2), (6, 4))
RANGES = {2: (-2, 1), 3: (-4, 3), 4: (-8, 7), 8: (-127, 127)}


def wrapped(kind="Conv2D", num_bits=2):
    make, shape, axes = KINDS[kind]
    layer = LearnedStepWeights(make(), num_bits)
    layer.build(shape)
    layer.kernel.assign(draw(layer.kernel.shape, seed=1))
    layer.start()
    return layer, draw(shape), axes


@kinds
@pytest.mark.parametrize("num_bits", RANGES)
def test_computes_what_the_stock_layer_does_with_the_rounded_kernel(kind, num_bits):
    layer, x, axes = wrapped(kind, num_bits)
    kernel, step = numbers(layer.kernel), numbers(layer.step)
    low, high = RANGES[num_bits]
    first = 2 * np.abs(kernel).mean(axis=axes, keepdims=True) / np.sqrt(high)
    np.testing.assert_allclose(step, first, rtol=1e-5)
    expected = np.clip(np.round(kernel / step), low, high) * step
    np.testing.assert_allclose(numbers(layer.rounded_kernel()), expected, rtol=1e-5, atol=1e-6)
    stock = KINDS[kind][0]()
    stock.build(x.shape)
    stock.set_weights([expected, *map(numbers, layer.layer.weights[1:])])
    np.testing.assert_allclose(numbers(layer(x)), numbers(stock(x)), rtol=1e-4, atol=1e-5)


def test_gradients_are_the_papers():
    """At both ends, inside, on the ends, and beyond them; of a dense layer of one input."""
    layer = LearnedStepWeights(keras.layers.Dense(1, use_bias=False), 2)
    ratios = np.array([-3.0, -2.0, -1.7, -0.2, 0.4, 1.0, 1.3], "float32")
    layer.build((1, len(ratios)))
    step = 0.5
    layer.kernel.assign(ratios[:, None] * step)
    layer.step.assign([[step]])
    x = np.arange(1, len(ratios) + 1, dtype="float32")[None]
    gradients = checks.layer_gradients(layer, x, np.ones((1, 1), "float32"))
    names = ["x", *(w.path.rpartition("/")[2] for w in layer.trainable_variables)]
    found = dict(zip(names, gradients, strict=True))
    inside = (ratios >= -2) & (ratios <= 1)
    np.testing.assert_allclose(found["kernel"][:, 0], x[0] * inside)
    each = np.where(inside, np.round(ratios) - ratios, np.where(ratios < 0, -2, 1))
    expected = (x[0] * each).sum() / np.sqrt(len(ratios) * 1)
    np.testing.assert_allclose(found["step"], [[expected]], rtol=1e-5)


def test_a_step_below_zero_computes_numbers():
    layer, x, _ = wrapped("Dense")
    layer.step.assign(np.full(layer.step.shape, -1.0))
    assert np.isfinite(numbers(layer(x))).all()


def test_saves_lowers_trains(tmp_path):
    layer, x, _ = wrapped("Conv2D", 4)
    assert_lowered_is_the_same(layer, x)
    assert_same_after_saving(layer, x, tmp_path)
    assert_config_round_trip(layer)
    assert_every_weight_moves_from_here(layer, x)


def test_refuses():
    with pytest.raises(ValueError, match=r"num_bits must be from 2 to 8\. Received: num_bits=1"):
        LearnedStepWeights(keras.layers.Dense(3), 1)
