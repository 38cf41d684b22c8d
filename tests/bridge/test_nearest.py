import numpy as np
import pytest

from tfcompress.bridge.legacy import tfmot
from tfcompress.bridge.nearest import nearest, nearest_by_search


@pytest.mark.parametrize("count", [1, 2, 16, 37])
def test_against_all_distances(count):
    rng = np.random.default_rng(count)
    # Multiples of 1/8, so that equal values, exact hits and ties between two values come up.
    values = (rng.integers(-20, 20, count) / 8).astype(np.float32)
    weights = (rng.integers(-50, 50, (3, 5, 40)) / 16).astype(np.float32)
    expected = np.abs(weights[..., None] - values).argmin(-1)
    got = np.asarray(nearest(weights, values))
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, expected)


def test_only_within():
    tfmot()
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_algorithm

    def current():
        return clustering_algorithm.ClusteringAlgorithm.get_pulling_indices

    before = current()
    with nearest_by_search():
        assert current() is not before
    assert current() is before
