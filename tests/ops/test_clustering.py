"""Shared values against NumPy: all distances, and sums of gradients."""

import numpy as np
import pytest
from keras import ops

from tests import checks
from tfcompress.ops import clustering

COUNTS = [1, 2, 16, 37]  # The last one is more than are compared one by one.


def drawn(count, *channels):
    """Multiples of 1/16, so that equal values, exact hits and ties between two values come up."""
    rng = np.random.default_rng(count)
    values = (rng.integers(-20, 20, (*channels, count)) / 8).astype(np.float32)
    return (rng.integers(-50, 50, (3, 50, 4)) / 16).astype(np.float32), values


@pytest.mark.parametrize("channels", [(), (4,)])
@pytest.mark.parametrize("count", COUNTS)
def test_the_first_of_the_nearest(count, channels):
    weights, values = drawn(count, *channels)
    expected = np.abs(weights[..., None] - values).argmin(-1)
    found = ops.convert_to_numpy(clustering.nearest(weights, values))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channels", [(), (4,)])
@pytest.mark.parametrize("count", COUNTS)
def test_gradients_of_weights_and_values(count, channels):
    weights, values = drawn(count, *channels)
    upstream = np.random.default_rng(0).normal(size=weights.shape).astype("float32")
    indices = np.abs(weights[..., None] - values).argmin(-1)
    its_values = np.broadcast_to(values, (*weights.shape, count))
    expected = np.take_along_axis(its_values, indices[..., None], -1)[..., 0]
    np.testing.assert_array_equal(ops.convert_to_numpy(clustering.share(weights, values)), expected)
    sums = np.stack([(upstream * (indices == n)).sum((0, 1)) for n in range(count)], -1)
    sums = sums if channels else sums.sum(0)
    of_weights, of_values = checks.gradients(
        lambda w, c: ops.sum(clustering.share(w, c) * upstream), weights, values
    )
    np.testing.assert_array_equal(of_weights, upstream)
    np.testing.assert_allclose(of_values, sums, atol=1e-4)
