"""Rounds activations to the levels 0, 1, 2 and 3 times a trained step, on any Keras backend.

A value's level is how many of three thresholds it reaches, so that a file needs no arithmetic for
it, and no two programs round the same value to two levels.
"""

from __future__ import annotations

from typing import Any

from keras import ops

# Levels above 0, of 2 bits.
MOST = 3
# The step whose levels are nearest, by squared error, to the positive half of a standard normal
# distribution, which batch normalisation makes: Cai et al. 2017, arXiv:1702.00953, section 4.1,
# have 0.538 for the same without the level 0.
FIRST_STEP = 0.651
# Of a step that training has moved to 0 or below.
_LEAST = 1e-8


def positive(step: Any) -> Any:
    """Returns a step, held above 0."""
    return ops.maximum(step, _LEAST)


def thresholds(step: Any) -> tuple[Any, ...]:
    """Returns where each level above 0 begins: 0.5, 1.5 and 2.5 steps."""
    return tuple((level - 0.5) * step for level in range(1, MOST + 1))


def levels(x: Any, step: Any) -> Any:
    """Returns the level of each value, 0 to 3, as a float of `x`'s type.

    A value in the middle of two levels has the higher one; what is no number has level 0.

    Args:
        x: tensor of any shape.
        step: s, above 0; a number or a scalar.
    """
    first, *others = (ops.cast(x >= least, x.dtype) for least in thresholds(step))
    return sum(others, first)


def learned_levels(x: Any, step: Any) -> Any:
    """Returns the values rounded to 0, s, 2s or 3s, with a step s that is trained.

    ```
    forward   y = s * level(x),  level(x) = [x >= s/2] + [x >= 3s/2] + [x >= 5s/2]
    gradient  dL/dx = dL/dy where 0 <= x <= 3s, else 0
              dL/ds = g * sum of dL/dy * (level(x) - x/s where 0 <= x <= 3s, else level(x))
    ```

    with `g = 1 / sqrt(3n)` for the n values of one example.

    Args:
        x: tensor whose first axis is the batch's.
        step: s, a scalar; held above 0.

    Reference:
        Esser, McKinstry, Bablani, Appuswamy, Modha 2020, "Learned Step Size Quantization",
        arXiv:1902.08153, section 2, equations 1 to 3, for unsigned data of 2 bits.
    """

    @ops.custom_gradient
    def function(x: Any, step: Any) -> Any:
        safe = positive(step)
        level = levels(x, safe)

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            ratio = x / safe
            inside = ops.cast(ops.logical_and(ratio >= 0, ratio <= MOST), x.dtype)
            count = ops.cast(ops.size(x) // ops.maximum(ops.shape(x)[0], 1), "float32")
            # Half precision holds neither the sum nor what it is divided by.
            sums = ops.sum(ops.cast(upstream * (level - inside * ratio), "float32"))
            to_step = sums / ops.sqrt(MOST * count)
            return upstream * inside, ops.cast(to_step, step.dtype)

        return level * safe, gradient

    return function(ops.convert_to_tensor(x), ops.copy(step))
