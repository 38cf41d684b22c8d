"""Masks against loops in NumPy, schedules against Zhu and Gupta's equation 1."""

import numpy as np
import pytest
from keras import ops

from tfcompress.ops import pruning


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_the_share_of_zeros_rises_by_the_polynomial(power):
    for step, done in ((5, 0), (10, 0), (60, 0.5), (110, 1), (500, 1)):
        share = pruning.polynomial_sparsity(step, 0.5, 0.9, begin=10, end=110, power=power)
        assert float(share) == pytest.approx(0.9 - 0.4 * (1 - done) ** power)


def test_masks_change_every_so_many_steps():
    steps = [s for s in range(30) if pruning.changes_at(s, begin=4, end=16, frequency=4)]
    assert steps == [4, 8, 12, 16]
    steps = [s for s in range(30) if pruning.changes_at(s, begin=1, end=-1, frequency=10)]
    assert steps == [1, 11, 21]


@pytest.mark.parametrize(("sparsity", "left"), [(0.5, 6), (0.8, 2), (0.0, 12), (0.99, 1)])
def test_the_largest_stay(sparsity, left):
    kernel = weights(3, 4)
    expected = np.zeros(12)
    for place in sorted(range(12), key=lambda i: -abs(kernel.flat[i]))[:left]:
        expected[place] = 1
    mask = array(pruning.magnitude_mask(kernel, sparsity))
    np.testing.assert_array_equal(mask, expected.reshape(3, 4))
    assert mask.dtype == kernel.dtype
    masked = kernel * mask
    np.testing.assert_array_equal(array(pruning.magnitude_mask(masked, sparsity)), mask)


def test_all_that_equal_the_threshold_stay():
    mask = array(pruning.magnitude_mask(np.float32([1, -2, 2, 2, 0]), 0.6))
    np.testing.assert_array_equal(mask, [0, 1, 1, 1, 0])


@pytest.mark.parametrize("shape", [(4, 12), (1, 1, 4, 12)])
def test_blocks(shape):
    kernel = weights(*shape)
    means = np.abs(kernel.reshape(4, 12)).reshape(2, 2, 3, 4).mean((1, 3))
    limit = np.sort(means.ravel())[-3]
    expected = np.kron(means >= limit, np.ones((2, 4))).reshape(shape)
    np.testing.assert_array_equal(array(pruning.block_mask(kernel, 0.5, (2, 4))), expected)


@pytest.mark.parametrize("shape", [(8, 3), (6, 3), (3, 3, 5, 2)])
def test_two_of_four(shape):
    kernel = weights(*shape)
    expected = np.zeros(shape)
    for index in np.ndindex(*shape[:-2], shape[-1]):
        for start in range(0, shape[-2], 4):
            group = range(start, min(start + 4, shape[-2]))
            places = [(*index[:-1], i, index[-1]) for i in group]
            for place in sorted(places, key=lambda p: -abs(kernel[p]))[:2]:
                expected[place] = 1
    np.testing.assert_array_equal(array(pruning.m_by_n_mask(kernel, 2, 4)), expected)
