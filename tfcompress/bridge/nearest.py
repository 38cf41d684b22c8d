"""Finds the shared value nearest to each weight by binary search.

TFMOT's clustering compares each weight with all shared values, in each step. For 256 values that
takes 256 floats of memory a weight.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

_ALGORITHM = "tensorflow_model_optimization.python.core.clustering.keras.clustering_algorithm"


@contextlib.contextmanager
def nearest_by_search() -> Iterator[None]:
    """Makes TFMOT's wrappers that are built or traced within it find values by binary search."""
    import tensorflow as tf

    algorithm = importlib.import_module(_ALGORITHM).ClusteringAlgorithm
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
    """Returns the index of the value nearest to each weight; of equally near ones the first.

    Args:
        weights: of any shape.
        values: in one dimension and any order.
    """
    import tensorflow as tf

    order = tf.argsort(values, stable=True)
    ascending = tf.gather(values, order)
    # Of equal values the first stands for all.
    order = tf.gather(order, tf.searchsorted(ascending, ascending))
    flat = tf.reshape(weights, [-1])
    above = tf.searchsorted(ascending, flat)
    below = tf.maximum(above - 1, 0)
    above = tf.minimum(above, tf.size(ascending) - 1)
    far_below = tf.abs(flat - tf.gather(ascending, below))
    far_above = tf.abs(flat - tf.gather(ascending, above))
    below, above = tf.gather(order, below), tf.gather(order, above)
    first = tf.where(far_below == far_above, tf.minimum(below, above), above)
    chosen = tf.where(far_below < far_above, below, first)
    return tf.reshape(tf.cast(chosen, tf.int64), tf.shape(weights))
