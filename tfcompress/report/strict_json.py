"""Turns values into strict JSON, which other programs read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def strict(value: Any) -> Any:
    """Replaces what JSON doesn't have.

    NaN and infinity become None, NumPy's scalars and arrays Python's, tuples lists, and other
    types (paths, dates) their text.

    >>> strict({"loss": float("nan"), "shape": (2, 3)})
    {'loss': None, 'shape': [2, 3]}
    """
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return strict(value.tolist())
    if isinstance(value, (Sequence, set, frozenset)):
        return [strict(item) for item in value]
    return str(value)
