"""Finds the shared value nearest to each weight by binary search.

TFMOT's clustering compares each weight with all shared values, in each step. For 256 values that
takes 256 floats of memory a weight.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from keras import ops

from tfcompress.bridge.legacy import tfmot
from tfcompress.ops import clustering

_ALGORITHM = "python.core.clustering.keras.clustering_algorithm"


@contextlib.contextmanager
def nearest_by_search() -> Iterator[None]:
    """Makes TFMOT's wrappers that are built or traced within it find values by binary search."""
    import tensorflow as tf

    algorithm = tfmot(_ALGORITHM).ClusteringAlgorithm
    theirs = algorithm.get_pulling_indices

    @tf.autograph.experimental.do_not_convert
    def ours(self: Any, weight: Any, centroids: Any = None) -> Any:
        return nearest(weight, self.cluster_centroids if centroids is None else centroids)

    algorithm.get_pulling_indices = ours
    try:
        yield
    finally:
        algorithm.get_pulling_indices = theirs


def nearest(weights: Any, values: Any) -> Any:
    """Returns the indices in 64 bits, as TFMOT keeps them."""
    return ops.cast(clustering.nearest_by_search(weights, values), "int64")
