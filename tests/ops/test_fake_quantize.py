"""The rounding is TensorFlow's own, to the last bit, and its gradient too."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests.checks import gradients
from tfcompress.layers import FakeQuantize
from tfcompress.ops.fake_quantize import (
    fake_quantize,
    fake_quantize_weights,
    grid,
    moving_range,
    widened_range,
)

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="compares with TensorFlow's op"
)
ends = st.floats(0, 100, width=32).filter(lambda x: x == 0 or x > 1e-3)


@needs_tensorflow
@settings(max_examples=60, deadline=None)
@given(ends, ends, st.integers(2, 8), st.booleans(), st.integers(0, 2**31))
def test_equals_tensorflow(low, high, bits, narrow, seed):
    import tensorflow as tf

    if low == high == 0:
        high = 1.0
    x = np.random.default_rng(seed).normal(size=500).astype("float32") * max(low, high)
    low, high = np.float32(-low), np.float32(high)
    expected = tf.quantization.fake_quant_with_min_max_vars(
        x, low, high, num_bits=bits, narrow_range=narrow
    )
    got = fake_quantize(x, ops.convert_to_tensor(low), ops.convert_to_tensor(high), bits, narrow)
    # A value on the border of two steps may fall to either side when the compiler fuses.
    step = (high - low) / (2**bits - 1 - narrow)
    off = np.abs(np.asarray(got) - expected.numpy())
    assert (off > 1e-6 * step).mean() <= 0.004
    assert off.max() <= (1 + 1e-5) * step


@needs_tensorflow
def test_equals_tensorflow_to_the_last_bit():
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=10000).astype("float32") * 2
    for low, high in ((-1.0, 1.0), (-0.3, 2.7), (0.0, 3.5), (-2.0, 0.0)):
        low, high = tf.constant(low), tf.constant(high)
        expected = tf.quantization.fake_quant_with_min_max_vars(x, low, high)
        np.testing.assert_array_equal(np.asarray(fake_quantize(x, low, high)), expected)


def test_zero_is_on_the_grid_and_rounding_twice_is_rounding_once():
    x = np.random.default_rng(0).normal(size=1000).astype("float32")
    low, high = ops.convert_to_tensor(-0.37), ops.convert_to_tensor(1.9)
    once = ops.convert_to_numpy(fake_quantize(x, low, high))
    assert len(np.unique(once)) <= 256
    assert ops.convert_to_numpy(fake_quantize(np.zeros(1, "float32"), low, high))[0] == 0
    twice = ops.convert_to_numpy(fake_quantize(once, low, high))
    np.testing.assert_allclose(twice, once, atol=1e-6)


def test_grid_by_hand():
    step, low, high = (
        float(part) for part in grid(ops.convert_to_tensor(-1.1), ops.convert_to_tensor(2.0), 2)
    )
    # Levels 0..3 over 3.1: 1.1 is 1.06 steps, so 0 is level 1 and the ends are -1 and 2 steps.
    assert step == pytest.approx(3.1 / 3)
    assert low == pytest.approx(-3.1 / 3)
    assert high == pytest.approx(2 * 3.1 / 3)


def halves(step, count=20):
    """Values in the middle between two steps around 0, and those above them: halves go up."""
    k = np.arange(-count, count)
    return ((k + 0.5) * step).astype("float32"), ((k + 1) * step).astype("float32")


def test_halves_go_up():
    """As TensorFlow's op and the runtime have them; rounding to even would change every other."""
    low, high = ops.convert_to_tensor(-32.0), ops.convert_to_tensor(31.75)  # Steps of 1/4.
    x, above = halves(0.25)
    np.testing.assert_array_equal(ops.convert_to_numpy(fake_quantize(x, low, high)), above)
    layer = FakeQuantize(-32.0, 31.75)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), above)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.lower()(x)), above)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        by_tensorflow = tf.quantization.fake_quant_with_min_max_args(x, -32.0, 31.75)
        np.testing.assert_array_equal(by_tensorflow, above)


def test_a_zero_between_two_levels_goes_up():
    """Three steps of 1 from -0.5: 0 is half a step from the lowest level and becomes level 1."""
    _, low, high = grid(ops.convert_to_tensor(-0.5), ops.convert_to_tensor(2.5), 2)
    assert (float(low), float(high)) == (-1.0, 2.0)


def test_range_of_zero_alone():
    zero = ops.convert_to_tensor(0.0)
    got = fake_quantize(np.array([-1.0, 0.0, 2.0], "float32"), zero, zero)
    np.testing.assert_array_equal(ops.convert_to_numpy(got), np.zeros(3))


def test_gradient_passes_inside_the_range_only():
    x = np.array([-3.0, -1.0, 0.0, 0.4, 2.0, 2.5], "float32")
    upstream = np.arange(1, 7, dtype="float32")
    low, high = ops.convert_to_tensor(-1.0), ops.convert_to_tensor(2.0)
    (got,) = gradients(lambda x: ops.sum(fake_quantize(x, low, high, 2) * upstream), x)
    np.testing.assert_array_equal(got, upstream * [0, 1, 1, 1, 1, 0])


@needs_tensorflow
def test_gradient_equals_tensorflow():
    import tensorflow as tf

    x = tf.constant(np.random.default_rng(0).normal(size=400).astype("float32") * 2)
    low, high = tf.constant(-1.5), tf.constant(0.7)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.quantization.fake_quant_with_min_max_vars(x, low, high)
    expected = tape.gradient(y, x)
    (got,) = gradients(lambda x: ops.sum(fake_quantize(x, low, high)), x.numpy())
    np.testing.assert_array_equal(got, expected)


@needs_tensorflow
def test_gradient_equals_tensorflows_at_the_ends_and_beyond():
    import tensorflow as tf

    ends = np.array([-1.1, 2.0], "float32")
    steps = np.array([np.nextafter(end, to) for end in ends for to in (-9, 9)], "float32")
    x = tf.constant(np.concatenate([ends, steps, ends * 1.001, ends * 2, [0.0, 0.3]]), "float32")
    upstream = tf.range(1.0, len(x) + 1.0)
    found = []
    for function in (tf.quantization.fake_quant_with_min_max_vars, fake_quantize):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, tf.constant(ends[0]), tf.constant(ends[1]))
        found.append(tape.gradient(y, x, upstream).numpy())
    np.testing.assert_array_equal(found[1], found[0])
    assert 0 in found[0]


@needs_tensorflow
@pytest.mark.parametrize("axis", [None, (0,)])
def test_weights_are_rounded_as_by_tensorflow_and_all_get_gradients(axis):
    import tensorflow as tf

    weights = np.random.default_rng(0).normal(size=(50, 40)).astype("float32")
    weights[:, 3] = 0  # A filter of zeros has no range.
    largest = np.abs(weights).max(axis)
    op = tf.quantization.fake_quant_with_min_max_vars
    op = op if axis is None else tf.quantization.fake_quant_with_min_max_vars_per_channel
    found = []
    for function in (
        lambda w: op(w, -largest, largest, narrow_range=True),
        lambda w: fake_quantize_weights(w, axis),
    ):
        x = tf.constant(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        found.append((y.numpy(), tape.gradient(y, x, x).numpy()))
    (expected, expected_gradient), (got, gradient) = found
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_array_equal(gradient, weights)
    assert ((gradient != expected_gradient) <= (np.abs(weights) == largest)).all()
    assert not got[:, 3].any()


def test_ranges_by_hand():
    x = np.array([[-3.0, 5.0]], "float32")
    moved = [float(end) for end in moving_range(-1.0, 1.0, x, decay=0.75)]
    assert moved == [-1.5, 2.0]
    assert [float(end) for end in moving_range(-1.0, 1.0, x + 4, decay=0.5)] == [-0.5, 5.0]
    assert [float(end) for end in widened_range(-4.0, 1.0, x)] == [-4.0, 5.0]
