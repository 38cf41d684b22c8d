"""LookupConv2D's formula and counts; what all factorised convolutions do is tested with them."""

import numpy as np
import pytest
from keras import ops

from tests.layers.test_factorised_conv2d import draw, with_weights
from tfcompress.layers import LookupConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 4), (6, 6, 16))


def test_kernel_is_the_sum_of_the_vectors_that_each_place_takes():
    layer = with_weights(LookupConv2D(5, (3, 2), rank=7, coefficients=2), 4)
    layer.index.assign(np.random.default_rng(0).integers(0, 7, (3, 2, 2, 5)))
    vectors, coefs, _, index = (ops.convert_to_numpy(w).astype("f8") for w in layer.weights)
    expected = np.zeros((3, 2, 4, 5))
    for i, j, t, n in np.ndindex(3, 2, 2, 5):
        expected[i, j, :, n] += coefs[i, j, t, n] * vectors[0, 0, :, int(index[i, j, t, n])]
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-5)


def test_operations_and_weights():
    layer = LookupConv2D(64, 3, rank=16, coefficients=3, strides=2, padding="same")
    shapes = (None, 10, 9, 32), (None, 5, 5, 64)
    assert layer.macs(*shapes) == 90 * 32 * 16 + 25 * 9 * 16 * 64
    assert layer.macs_without_zeros(*shapes) == 90 * 32 * 16 + 25 * 9 * 3 * 64
    assert layer.kernel_parameters((3, 3, 32, 64)) == 32 * 16 + 9 * 3 * 64


def test_coefficients():
    assert LookupConv2D(4, 3, rank=5).coefficients == 5
    assert LookupConv2D(4, 3, rank=5, coefficients=9).coefficients == 5
    with pytest.raises(ValueError, match=r"coefficients must be a whole number.*coefficients=0"):
        LookupConv2D(4, 3, rank=5, coefficients=0)


def test_training_leaves_the_places_as_they_are():
    layer = LookupConv2D(6, 3, rank=4, coefficients=2)
    layer(draw((1, 5, 5, 4)))
    assert [w.name for w in layer.non_trainable_weights] == ["index"]
    chosen = ops.convert_to_numpy(layer.index)
    assert (chosen[:, :, 0] != chosen[:, :, 1]).all()  # Before `from_conv`, too.
