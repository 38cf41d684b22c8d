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


def mean_ranks(maps: Array) -> Array:
    """Returns the mean rank of each channel's feature maps.

    Args:
        maps: (examples, height, width, channels).

    Reference:
        Lin et al. 2020, "HRank: Filter Pruning using High-Rank Feature Map", arXiv:2002.10179,
        section 3.2.
    """
    return np.asarray(np.linalg.matrix_rank(np.moveaxis(maps, -1, 1)).mean(axis=0))


def contributions(inputs: Array, kernel: Array, channels: Array) -> Array:
    """Returns the products of what the channels contribute to a layer's responses.

    ```
    G[j, k] = sum over rows and outputs of r_j r_k,   r_j = X[:, rows of j] K[rows of j]
    ```

    So the squared error of the responses without the channels T is the sum of G over T and T.

    Args:
        inputs: X, (rows, inputs).
        kernel: K, (inputs, outputs).
        channels: which channel each input belongs to, 0 or more; -1 for none of them.

    Returns:
        G, (channels, channels).
    """
    own = channels >= 0
    x, weights, names = inputs[:, own], kernel[own], channels[own]
    order = np.argsort(names, kind="stable")
    starts = np.flatnonzero(np.diff(names[order], prepend=-1))
    products = (x.T @ x) * (weights @ weights.T)
    products = products[np.ix_(order, order)]
    by_row = np.add.reduceat(products, starts, axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(by_row, starts, axis=1))


def removal_order(gram: Array) -> Array:
    """Returns channels in the order in which they are missed the least, one after another.

    Each is the one without which, and without those before it, the responses change least.

    >>> removal_order(np.array([[4.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, -1.0, 2.0]]))
    array([1, 2, 0])

    Args:
        gram: as `contributions` returns it.

    Reference:
        Luo, Wu, Lin 2017, "ThiNet: A Filter Level Pruning Method for Deep Neural Network
        Compression", arXiv:1707.06342, section 3.2.2 and algorithm 1.
    """
    gone = np.zeros(len(gram), bool)
    order = []
    for _ in range(len(gram)):
        more = 2 * gram[:, gone].sum(axis=1) + np.diag(gram)
        order.append(int(np.argmin(np.where(gone, np.inf, more))))
        gone[order[-1]] = True
    return np.array(order)
