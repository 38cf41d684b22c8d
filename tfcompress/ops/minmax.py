"""Rounds to levels between the least and the largest value: linear quantisation, in floats."""

from __future__ import annotations

from typing import Any

from keras import ops


def minmax_quantize(x: Any, num_bits: int = 8, axis: Any = None) -> Any:
    """Rounds to the nearest of `2**num_bits` even levels from the least value to the largest.

    ```
    step  s = (max(x) - min(x)) / (2^num_bits - 1)
    y = min(x) + s * floor((x - min(x)) / s + 0.5)
    ```

    Both ends stay exact; 0 needn't be one of the levels. An input of equal values stays as it is.

    Args:
        x: tensor of floats.
        num_bits: of the numbers that a file would hold.
        axis: over which the ends are taken; all axes by default.
    """
    low = ops.min(x, axis=axis, keepdims=True)
    step = (ops.max(x, axis=axis, keepdims=True) - low) / (2**num_bits - 1)
    safe = ops.where(step > 0, step, ops.ones_like(step))
    return low + step * ops.floor((x - low) / safe + 0.5)
