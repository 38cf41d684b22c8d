"""Finds what the converter multiplied filters by, such as a batch normalisation's scale."""

from __future__ import annotations

import numpy as np

# Of a filter's weights against a multiple of the layer's.
_ROUNDING = 1e-5


def factors(filters: np.ndarray, matrix: np.ndarray) -> np.ndarray | None:
    """Returns the number that each row of a file's weights is a layer's row times.

    Args:
        filters: of the file: (filters, inputs).
        matrix: of the layer, likewise.

    Returns:
        float32 (filters,), exactly 1 where rows are equal but for rounding; None if the weights
        aren't multiples of the layer's.
    """
    if filters.shape != matrix.shape:
        return None
    # Thousands of terms that are all positive: floats of 32 bits lose four digits of their sum.
    squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    products = np.einsum("ij,ij->i", filters, matrix, dtype=np.float64)
    found = products / np.where(squares > 0, squares, 1)
    near = np.abs(filters - found[:, None] * matrix) <= _ROUNDING * np.abs(filters).max()
    if not near.all():
        return None
    found[np.abs(found - 1) <= _ROUNDING] = 1
    return found.astype(np.float32)
