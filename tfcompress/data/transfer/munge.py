"""MUNGE: rows of a table that might have been, made of the rows that are there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The share of the attributes that are exchanged, and the divisor of a number's deviation.
SWAPPED = 0.5
LOCALITY = 1.0


def munge(
    x: np.ndarray,
    count: int,
    seed: int,
    *,
    choices: Sequence[slice] = (),
    swapped: float = SWAPPED,
    locality: float = LOCALITY,
) -> np.ndarray:
    """Returns rows that lie about where the given ones do.

    In each pass every row e meets its nearest neighbour e'. With the probability `swapped` a
    number a becomes a draw around the neighbour's, and the neighbour's one around a,

    ```
    a = normal(a', |a - a'| / locality);    a' = normal(a, |a - a'| / locality)
    ```

    and a choice among words is exchanged as it is. Passes begin anew
    from the given rows until there are enough.

    Args:
        x: float (rows, inputs), each input about as wide as the others.
        count: how many rows are returned.
        seed: of the draws.
        choices: for each choice among words, the columns that hold it, such as a one-hot code.
        swapped: 0.5, ours: the paper leaves both numbers free, and names no values for them.
        locality: 1, ours.

    Reference:
        Bucila, Caruana, Niculescu-Mizil 2006, "Model Compression", KDD, section 3.3. Made for
        tables: on images take mixtures.
    """
    from scipy.spatial import KDTree

    rng = np.random.default_rng(seed)
    _, near = KDTree(x).query(x, k=2)
    # The nearest to a row is itself, or one that equals it.
    rows = np.arange(len(x))
    neighbours = np.where(near[:, 0] == rows, near[:, 1], near[:, 0])
    columns = np.arange(x.shape[1])
    numbers = np.setdiff1d(columns, np.concatenate([columns[:0], *(columns[c] for c in choices)]))
    passes = [
        _one_pass(x, neighbours, rng, numbers, choices, swapped, locality)
        for _ in range(-(-count // len(x)))
    ]
    return np.concatenate(passes)[:count].astype(x.dtype)


def _one_pass(
    x: np.ndarray,
    neighbours: np.ndarray,
    rng: np.random.Generator,
    numbers: np.ndarray,
    choices: Sequence[slice],
    swapped: float,
    locality: float,
) -> np.ndarray:
    """Returns as many rows as there are, each exchanged with its neighbour in their order."""
    made = np.array(x, np.float64)
    for row, other in enumerate(neighbours):
        chosen = numbers[rng.random(len(numbers)) < swapped]
        own, its = made[row, chosen].copy(), made[other, chosen].copy()
        deviation = np.abs(own - its) / locality
        made[row, chosen] = rng.normal(its, deviation)
        made[other, chosen] = rng.normal(own, deviation)
        for choice in choices:
            if rng.random() < swapped:
                made[[row, other], choice] = made[[other, row], choice]
    return made
