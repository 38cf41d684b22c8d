"""Scores how much each of a layer's filters matters, by its weights: NumPy only."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def l1(filters: Array) -> Array:
    """Returns the mean absolute weight of each filter.

    >>> l1(np.array([[1.0, -3.0], [0.0, 1.0]]))
    array([2. , 0.5])

    Args:
        filters: (filters, weights).

    Reference:
        Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, section 3.1.
    """
    return np.asarray(np.abs(filters).mean(axis=1))


def l2(filters: Array) -> Array:
    """Returns the root mean square weight of each filter: (filters, weights) to (filters,)."""
    return np.asarray(np.sqrt(np.square(filters).mean(axis=1)))


def median_distance(filters: Array) -> Array:
    """Returns the sum of each filter's distances to all filters of its layer.

    The filter with the least is nearest to their geometric median: the others can best stand in
    for it.

    >>> median_distance(np.array([[0.0], [1.0], [5.0]]))
    array([6., 5., 9.])

    Args:
        filters: (filters, weights).

    Reference:
        He et al. 2019, "Filter Pruning via Geometric Median", arXiv:1811.00250, section 3.3.
    """
    squares = np.square(filters.astype(np.float64)).sum(axis=1)
    between = squares[:, None] + squares - 2 * filters.astype(np.float64) @ filters.T
    return np.asarray(np.sqrt(np.maximum(between, 0)).sum(axis=1))
