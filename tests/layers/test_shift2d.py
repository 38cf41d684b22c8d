import keras
import numpy as np
import pytest

from tests import checks
from tests.layers import compact
from tests.layers.compact import draw, predict
from tfcompress import graph
from tfcompress.layers import Shift2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((), (6, 6, 16))

CASES = [((4, 5), 9, 3), ((5, 4), 20, 3), ((3, 3), 25, 5), ((2, 6), 3, 1), ((1, 2), 11, 3)]
each = pytest.mark.parametrize(("size", "channels", "kernel_size"), CASES)


def direction(channel, channels, kernel_size):
    """Row and column step of a channel: groups in order, the rest with the middle group."""
    count = kernel_size**2
    groups = [channels // count] * count
    groups[count // 2] += channels % count
    for number, each_group in enumerate(groups):
        if channel < each_group:
            return number // kernel_size - kernel_size // 2, number % kernel_size - kernel_size // 2
        channel -= each_group
    raise AssertionError


def naive(x, kernel_size):
    height, width, channels = x.shape[1:]
    out = np.zeros_like(x)
    for c in range(channels):
        i, j = direction(c, channels, kernel_size)
        for h in range(height):
            for w in range(width):
                if 0 <= h + i < height and 0 <= w + j < width:
                    out[:, h, w, c] = x[:, h + i, w + j, c]
    return out


@each
def test_forward_is_the_loops(size, channels, kernel_size):
    x = draw((2, *size, channels))
    np.testing.assert_array_equal(predict(Shift2D(kernel_size), x), naive(x, kernel_size))


@each
def test_lowered_is_the_same_exactly(size, channels, kernel_size):
    x = draw((2, *size, channels))
    model = compact.assert_lowered_is_the_same(Shift2D(kernel_size), x)
    np.testing.assert_array_equal(checks.predict(model, x), naive(x, kernel_size))
    assert [type(layer).__name__ for layer in model.layers[1:]] == ["DepthwiseConv2D"]
    assert not model.trainable_variables


def test_gradient_is_the_opposite_shift():
    x, upstream = draw((1, 3, 4, 9)), draw((1, 3, 4, 9), seed=1)
    layer = compact.with_weights(Shift2D(), x)
    (gradient,) = checks.layer_gradients(layer, x, upstream)
    # The directions of 9 channels are each other's opposites in reverse order.
    expected = naive(upstream[..., ::-1].copy(), 3)[..., ::-1]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_unknown_sizes():
    x = draw((2, 3, 4, 9))
    inputs = keras.Input((None, None, 9))
    model = keras.Model(inputs, Shift2D()(inputs))
    np.testing.assert_array_equal(checks.predict(model, x), naive(x, 3))


def test_config_saving_precision_and_counts(tmp_path):
    x = draw((2, 3, 4, 9))
    compact.assert_config_round_trip(Shift2D(3))
    compact.assert_same_after_saving(Shift2D(), x, tmp_path)
    compact.assert_works_in_half_precision(Shift2D, x)
    inputs = keras.Input((4, 4, 9))
    (row,) = graph.count(keras.Model(inputs, Shift2D()(inputs)))
    assert (row.parameters, row.macs) == (0, 0)


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
def test_file(tmp_path):
    x = draw((3, 6, 6, 20))
    written = compact.assert_export_is_the_same(Shift2D(), x, tmp_path)
    assert written.ops == {"DEPTHWISE_CONV_2D": 1}
    assert written.parity.max_abs_diff == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*kernel_size=2"):
        Shift2D(2)
    with pytest.raises(ValueError, match=r"kernel_size must be a whole number.*=-3"):
        Shift2D(-3)
    with pytest.raises(ValueError, match=r"takes 9 channels or more.*\(1, 4, 4, 8\)"):
        Shift2D()(draw((1, 4, 4, 8)))
