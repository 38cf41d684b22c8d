"""Chooses ranks, by a matrix's singular values or by what a rank costs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray

# The threshold of the unbounded problem: sqrt(alpha) times the root of its equation (Nakajima et
# al. 2013, section 4.3).
_TAU_PER_ROOT_ALPHA = 2.5129
# Noise levels that are tried, evenly on a logarithmic scale, and then once more around the best.
_LEVELS = 512


def by_energy(matrix: Array, energy: float) -> int:
    """Returns the smallest rank that keeps a share of the squared singular values.

    >>> by_energy(np.diag([3.0, 2.0, 1.0]), 0.9)
    2

    Args:
        matrix: (rows, columns).
        energy: in (0, 1]; the relative error is at most `sqrt(1 - energy)`.

    Raises:
        ValueError: the energy is out of range.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy must be in (0, 1]. Received: energy={energy}")
    squares = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
    energies = np.cumsum(squares)
    enough = np.flatnonzero(energies >= energy * energies[-1] * (1 - 1e-12))
    return int(enough[0]) + 1


def by_variational_bayes(matrix: Array) -> int:
    """Returns how many components stand out of the noise, which it estimates; at least 1.

    This is empirical variational Bayesian matrix factorisation in closed form. With singular values
    g of an (L, M) matrix, L <= M, a = L/M, and

    ```
    t(x)  = (x - (1 + a) + sqrt((x - (1 + a))^2 - 4a)) / 2
    x0    = (1 + t0) * (1 + a / t0),  t0 = 2.5129 * sqrt(a)
    cost  = sum_h x_h - log x_h + [x_h > x0] * (log(t + 1) + a * log(t/a + 1) - t),
            x_h = g_h^2 / (M * noise)
    ```

    the noise is the one of least cost, and components with x_h > x0 are kept.

    Args:
        matrix: (rows, columns).

    Reference:
        Nakajima, Sugiyama, Babacan, Tomioka 2013, "Global analytic solution of fully-observed
        variational Bayesian matrix factorization", JMLR 14, theorem 2 and section 4.3; used for
        convolutions by Kim et al. 2016, arXiv:1511.06530, section 3.2.
    """
    small, large = sorted(matrix.shape)
    squares = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
    if not squares.any():
        return 1
    alpha = small / large
    tau = _TAU_PER_ROOT_ALPHA * math.sqrt(alpha)
    threshold = (1 + tau) * (1 + alpha / tau)
    # At most so many components can stand out; the noise lies between what that leaves and all.
    most = min(small, max(1, math.ceil(small / (1 + alpha)) - 1))
    rest = squares[most:]
    low = max(float(rest.mean()) / large, float(rest[0]) / (large * threshold)) if len(rest) else 0
    high = float(squares.sum()) / (small * large)
    low = max(low, high * 1e-9)

    def cost(noise: float) -> float:
        x = np.maximum(squares / (large * noise), 1e-300)
        out = x > threshold
        shifted = x[out] - (1 + alpha)
        t = (shifted + np.sqrt(shifted**2 - 4 * alpha)) / 2
        signal = np.log(t + 1) + alpha * np.log(t / alpha + 1) - t
        return float((x - np.log(x)).sum() + signal.sum())

    for _ in range(2):
        levels = np.geomspace(low, max(high, low), _LEVELS)
        best = int(np.argmin([cost(level) for level in levels]))
        low, high = levels[max(best - 1, 0)], levels[min(best + 1, _LEVELS - 1)]
    noise = levels[best]
    return max(1, int((squares > threshold * large * noise).sum()))


def by_cost(cost: Callable[[int], int], limit: float, largest: int) -> int:
    """Returns the largest rank that costs no more than a limit; 0 if even rank 1 costs more.

    >>> by_cost(lambda rank: 100 * rank, 450, 64)
    4

    Args:
        cost: rises with the rank.
        limit: in the units of the cost.
        largest: no larger rank is tried.
    """
    low, high = 0, largest
    while low < high:
        middle = (low + high + 1) // 2
        if cost(middle) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
