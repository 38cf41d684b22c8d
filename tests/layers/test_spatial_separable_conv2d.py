"""SpatialSeparableConv2D's formula and counts; what all share is tested with them."""

import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers.test_factorised_conv2d import draw, with_weights
from tfcompress.layers import SpatialSeparableConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 4), (6, 6, 16))


def weights(layer):
    return [ops.convert_to_numpy(w).astype("float64") for w in layer.weights]


def test_kernel_is_the_sum_over_ranks():
    layer = with_weights(SpatialSeparableConv2D(6, (3, 2), rank=5), 4)
    v, h, _ = weights(layer)
    expected = np.zeros((3, 2, 4, 6))
    for i in range(3):
        for j in range(2):
            for k in range(5):
                expected[i, j] += np.outer(v[i, 0, :, k], h[0, j, k])
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-5)


def test_forward_is_two_convolutions():
    x = draw((2, 7, 8, 4))
    layer = with_weights(SpatialSeparableConv2D(6, 3, rank=5, strides=(2, 3), padding="same"), 4)
    v, h, bias = weights(layer)
    inner = checks.conv2d(x, v, strides=(2, 1), padding="same")
    expected = checks.conv2d(inner, h, strides=(1, 3), padding="same") + bias
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("channels", "filters", "taps", "rank"), [(48, 128, 5, 64), (8, 6, 3, 2)])
def test_operations_per_pixel(channels, filters, taps, rank):
    """K d (C + N), as the survey of Lebedev and Lempitsky has it."""
    layer = SpatialSeparableConv2D(filters, taps, rank=rank, padding="same")
    shape = (None, 10, 9, channels)
    per_pixel = rank * taps * (channels + filters)
    assert layer.macs(shape, layer.compute_output_shape(shape)) == 10 * 9 * per_pixel
    assert layer.kernel_parameters((taps, taps, channels, filters)) == per_pixel
