"""TuckerConv2D's formula and counts; what all factorised convolutions do is tested with them."""

import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers.test_factorised_conv2d import draw, with_weights
from tfcompress.layers import TuckerConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 4), (6, 6, 16))


def weights(layer):
    return [ops.convert_to_numpy(w).astype("float64") for w in layer.weights]


def test_kernel_is_the_sum_over_both_ranks():
    layer = with_weights(TuckerConv2D(6, (3, 2), rank=(3, 5)), 4)
    u, g, v, _ = weights(layer)
    expected = np.zeros((3, 2, 4, 6))
    for i in range(3):
        for j in range(2):
            for p in range(3):
                for q in range(5):
                    expected[i, j] += g[i, j, p, q] * np.outer(u[0, 0, :, p], v[0, 0, q])
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-4)


def test_forward_is_three_convolutions():
    x = draw((2, 7, 8, 4))
    layer = with_weights(TuckerConv2D(6, 3, rank=(3, 5), strides=(2, 3), padding="same"), 4)
    u, g, v, bias = weights(layer)
    inner = checks.conv2d(checks.conv2d(x, u), g, strides=(2, 3), padding="same")
    expected = checks.conv2d(inner, v) + bias
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [(16, 24), (5, 3)])
def test_operations_per_pixel(rank):
    """C P + d^2 P Q + Q N, equation 8 of Kim et al."""
    layer = TuckerConv2D(64, 3, rank=rank, padding="same")
    before, behind = rank
    per_pixel = 32 * before + 9 * before * behind + behind * 64
    assert layer.macs((None, 10, 9, 32), (None, 10, 9, 64)) == 10 * 9 * per_pixel
    assert layer.kernel_parameters((3, 3, 32, 64)) == per_pixel


@pytest.mark.parametrize("rank", [(1, 2, 3), (0, 2), 2.5, "ab"])
def test_bad_ranks(rank):
    with pytest.raises(ValueError, match="rank must be"):
        TuckerConv2D(4, 3, rank=rank)
