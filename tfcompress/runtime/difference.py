"""Measures how far a file's outputs are from those that they should be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def relative_rms(actual: np.ndarray, expected: np.ndarray) -> float:
    """Returns `rms(actual - expected) / rms(expected)`, computed in float64.

    Args:
        actual: real numbers of any shape.
        expected: as many, of the same shape.

    Returns:
        0 if the two are equal, infinity if only `expected` is 0 throughout.
    """
    import numpy as np

    expected = np.asarray(expected, np.float64)
    difference = float(np.square(actual - expected).sum())
    size = float(np.square(expected).sum())
    if not size:
        return math.inf if difference else 0.0
    return math.sqrt(difference / size)
