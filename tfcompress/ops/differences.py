"""Measures by how much outputs differ, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def relative_rms(expected: np.ndarray, actual: np.ndarray) -> float:
    """Returns `rms(actual - expected) / rms(expected)`.

    0 if both are zero throughout, infinite if only `expected` is.

    Args:
        expected: of any shape.
        actual: of the same shape.

    >>> relative_rms(np.array([3.0, 4.0]), np.array([3.0, 3.5]))
    0.1
    """
    difference = np.square(actual - expected, dtype="float64").sum()
    return root_of_ratio(difference, np.square(expected, dtype="float64").sum())


def nudged(values: np.ndarray, share: float, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Returns floats of which each is changed by a small share, up or down; others as they are.

    Args:
        values: of any shape and type.
        share: of each value.
        seed: of the directions.

    >>> nudged(np.array([1.0, 2.0, 4.0]), 0.25)
    array([1.25, 2.5 , 5.  ])
    """
    if not np.issubdtype(values.dtype, np.floating):
        return values
    factors = np.random.default_rng(seed).choice([1 - share, 1 + share], values.shape)
    return (values * factors).astype(values.dtype)


def root_of_ratio(squared_difference: float, squared_expected: float) -> float:
    """Returns `relative_rms` of sums of squares that were added up elsewhere, in parts."""
    if not squared_expected:
        return 0.0 if not squared_difference else float("inf")
    return float(np.sqrt(squared_difference / squared_expected))
