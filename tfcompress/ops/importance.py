"""Scores how much each of a layer's filters matters: NumPy only."""

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


def taylor(filters: Array, gradients: Array) -> Array:
    """Returns the square of what the loss loses to first order without each filter.

    ```
    (sum_i g_i w_i)^2
    ```

    The sum is the loss's derivative by a factor of the filter's outputs, a gate, at 1.

    >>> taylor(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[1.0, -1.0], [2.0, 5.0]]))
    array([ 1., 36.])

    Args:
        filters: (filters, weights).
        gradients: of the loss of one batch, likewise.

    Reference:
        Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning",
        arXiv:1906.10771, sections 3.1 and 3.2.
    """
    return np.asarray(np.square((filters * gradients).sum(axis=1)))


def optimal_brain_damage(filters: Array, curvatures: Array) -> Array:
    """Returns what the loss loses to second order without each filter, weight by weight.

    ```
    sum_i h_i w_i^2 / 2
    ```

    Args:
        filters: (filters, weights).
        curvatures: h, the second derivatives of the loss or, in their place, squared gradients,
            likewise.

    Reference:
        LeCun, Denker, Solla 1989, "Optimal Brain Damage", NIPS, section 2.1.
    """
    return np.asarray((curvatures * np.square(filters)).sum(axis=1) / 2)
