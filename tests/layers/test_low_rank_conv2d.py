"""LowRankConv2D's formula and counts; what all factorised convolutions do is tested with them."""

import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers.test_factorised_conv2d import draw, with_weights
from tfcompress.layers import LowRankConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 4), (6, 6, 16))


def weights(layer):
    return [ops.convert_to_numpy(w).astype("float64") for w in layer.weights]


def test_forward_is_two_convolutions():
    x = draw((2, 7, 8, 4))
    layer = with_weights(LowRankConv2D(6, 3, rank=5, strides=(2, 3), padding="same"), 4)
    u, v, bias = weights(layer)
    inner = checks.conv2d(x, u, strides=(2, 3), padding="same")
    expected = checks.conv2d(inner, v) + bias
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.logical_kernel()), np.tensordot(u, v[0, 0], 1), atol=1e-4
    )


@pytest.mark.parametrize("rank", [1, 7])
def test_operations_per_pixel(rank):
    layer = LowRankConv2D(64, 3, rank=rank, padding="same")
    per_pixel = rank * (9 * 32 + 64)
    assert layer.macs((None, 10, 9, 32), (None, 10, 9, 64)) == 10 * 9 * per_pixel
    assert layer.kernel_parameters((3, 3, 32, 64)) == per_pixel
