"""Makes weights of the blocks of a codebook, with the papers' gradient, on any Keras backend."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

# Of steps: the largest value of a codebook is at most so many.
LEVELS = 2**12
# Steps that a codebook may have: powers of 2, whose whole numbers floats hold exactly.
_STEPS = np.float32(2.0) ** np.arange(-60, 20, dtype=np.float32)
_LARGEST = _STEPS * LEVELS


def step_of(book: np.ndarray) -> float:
    """Returns the least step that has the largest value of a codebook within `LEVELS` of it."""
    return float(_STEPS[np.searchsorted(_LARGEST[:-1], np.abs(book).max())])


def on_steps(book: Any) -> Any:
    """Rounds a codebook to whole numbers of its step (`step_of`), which 16 bits of a file hold.

    ```
    forward   y = s * round(v / s)
    gradient  dL/dv = dL/dy
    ```

    Args:
        book: float32 tensor.
    """

    @ops.custom_gradient
    def function(book: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return args[0] if upstream is None else upstream

        above = ops.cast(ops.max(ops.abs(book)) > _LARGEST[:-1], "int32")
        step = ops.take(_STEPS, ops.sum(above))
        return step * ops.round(book / step), gradient

    return function(ops.copy(book))


def expand(book: Any, codes: Any) -> Any:
    """Returns the block that each code stands for.

    ```
    forward   y_p = c[code_p]
    gradient  dL/dc_k = mean of dL/dy_p over the p with code k
    ```

    Args:
        book: (blocks, size).
        codes: whole numbers as floats, of any shape.

    Returns:
        Of the codes' shape with one more axis of `size`.

    Reference:
        Stock et al. 2020, "And the Bit Goes Down", arXiv:1907.05686, section 3.3; Gong et al. 2014,
        arXiv:1412.6115, has no training.
    """

    @ops.custom_gradient
    def function(book: Any, codes: Any) -> Any:
        places = ops.cast(ops.round(codes), "int32")
        count, size = book.shape

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = ops.convert_to_tensor(args[0] if upstream is None else upstream)
            flat = ops.reshape(places, (-1,))
            sums = ops.segment_sum(ops.reshape(upstream, (-1, size)), flat, count)
            members = ops.segment_sum(ops.ones_like(flat, dtype=sums.dtype), flat, count)
            return sums / ops.maximum(members, 1.0)[:, None], ops.zeros_like(codes)

        return ops.take(book, places, axis=0), gradient

    return function(ops.copy(book), ops.copy(codes))
