"""Rounds to the grid of an integer type, in floats, on any Keras backend.

The grid has `2**num_bits` evenly spaced values from `minimum` to `maximum`, moved a little so that
0 is one of them: a padded border or a pruned weight is 0 in integers too.
"""

from __future__ import annotations

from typing import Any

from keras import ops

# How near to the middle of two integers a zero point may lie and still be rounded down.
_TIE = 1e-3


def grid(minimum: Any, maximum: Any, num_bits: int = 8, narrow_range: bool = False) -> Any:
    """Returns step and ends of the grid that has 0 on it and is nearest to a range.

    ```
    levels  q0..q1, q0 = 1 if narrow_range else 0, q1 = 2^num_bits - 1
    step    s = (maximum - minimum) / (q1 - q0)
    zero    z = clip(round(q0 - minimum / s), q0, q1)
    ends    (q0 - z) * s, (q1 - z) * s
    ```

    Args:
        minimum: tensor or number, at most 0.
        maximum: of the same shape, at least 0.
        num_bits: of the integers.
        narrow_range: whether the lowest integer is left out, so that 0 is in the middle.

    Returns:
        step, lowest and highest value. An empty range, of 0 alone, has a step of 1.

    Reference:
        Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference", arXiv:1712.05877, sections 2.1 and 3.
    """
    first, last = (1 if narrow_range else 0), 2**num_bits - 1
    span = ops.subtract(maximum, minimum)
    step = span / (last - first)
    safe = ops.where(step > 0, step, ops.ones_like(step))
    # Halves go up, as in TensorFlow: `ops.round` would send them to the even neighbour.
    zero = ops.clip(ops.floor(first - minimum / safe + 0.5), first, last)
    return safe, (first - zero) * step, (last - zero) * step


def fake_quantize(
    x: Any, minimum: Any, maximum: Any, num_bits: int = 8, narrow_range: bool = False
) -> Any:
    """Rounds to the nearest values of the grid, with the straight-through gradient.

    ```
    forward   y = s * round(clip(x, low, high) / s)
    gradient  dL/dx = dL/dy if low <= x <= high else 0
    ```

    as TensorFlow's `fake_quant_with_min_max_vars` computes them: halves are rounded up. The range
    gets no gradient here.

    Args:
        x: tensor of floats.
        minimum: the range's lower end, at most 0; broadcast against `x`.
        maximum: its upper end, at least 0.
        num_bits: of the integers that the grid stands for.
        narrow_range: whether the lowest integer is left out.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3, equation 12.
    """
    step, low, high = grid(minimum, maximum, num_bits, narrow_range)

    @ops.custom_gradient
    def function(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            inside = ops.logical_and(x >= low, x <= high)
            return upstream * ops.cast(inside, upstream.dtype)

        # In TensorFlow's order, with the inverse: any other rounds some halves to the other side.
        inverse = 1.0 / step
        zero = ops.floor(0.5 - low * inverse)
        shifted = ops.minimum(ops.maximum(x, low), high) - low
        return ops.floor(shifted * inverse - zero + 0.5) * step, gradient

    return function(ops.convert_to_tensor(x))


def nudged_grid(minimum: Any, maximum: Any, num_bits: int = 8) -> tuple[Any, Any]:
    """Returns the step and the zero point of `nudged_fake_quantize`.

    ```
    step  s = (maximum - minimum) / (2^num_bits - 1)
    zero  z = clip(round(-minimum / s), 0, 2^num_bits - 1)
    ```

    A zero point in the middle of two integers, as that of pixels with a mean of 127.5, is rounded
    down: each compiler divides a little otherwise, and all must find the same one.
    """
    last = 2**num_bits - 1
    step = ops.subtract(maximum, minimum) / last
    safe = ops.where(step > 0, step, ops.ones_like(step))
    return safe, ops.clip(ops.floor(0.5 - _TIE - minimum / safe), 0, last)


def nudged_fake_quantize(x: Any, minimum: Any, maximum: Any, num_bits: int = 8) -> Any:
    """Rounds to as many values from the one end of a range to the other, and moves them to a grid.

    ```
    forward   y = s * (round((clip(x, minimum, maximum) - minimum) / s) - z)
    gradient  dL/dx = dL/dy if minimum <= x <= maximum else 0
    ```

    with the step s and the zero point z of `nudged_grid`: 0 is one of the values, and each of them
    may be up to half a step off. Where x has but these values, as pixels have that are normalised
    by any mean, different ones stay different; `fake_quantize` would round all pixels up or down by
    chance where the mean lies in the middle of two.

    Args:
        x: tensor of floats.
        minimum: the range's lower end, at most 0.
        maximum: its upper end, at least 0.
        num_bits: of the integers.
    """
    step, zero = nudged_grid(minimum, maximum, num_bits)

    @ops.custom_gradient
    def function(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            inside = ops.logical_and(x >= minimum, x <= maximum)
            return upstream * ops.cast(inside, upstream.dtype)

        shifted = ops.minimum(ops.maximum(x, minimum), maximum) - minimum
        return (ops.floor(shifted * (1.0 / step) + 0.5) - zero) * step, gradient

    return function(ops.convert_to_tensor(x))


def fake_quantize_weights(weights: Any, axis: tuple[int, ...] | None, num_bits: int = 8) -> Any:
    """Rounds weights symmetrically, by the largest of them, with the straight-through gradient.

    ```
    m         max |w| over the axes
    forward   y = fake_quantize(w, -m, m) without the lowest integer: -127..127 steps of m / 127
    gradient  dL/dw = dL/dy
    ```

    All weights lie within the range. (TensorFlow's op gives no gradient to the largest one where
    127 of its steps, rounded, are less: in 2 of 1000 filters.)

    Args:
        weights: tensor of floats.
        axis: over which one range is taken; None for one of all weights.
        num_bits: of the integers.

    Reference:
        TFMOT's `LastValueQuantizer`, symmetric and with a narrow range.
    """
    fixed = ops.stop_gradient(weights)
    largest = ops.max(ops.abs(fixed), axis=axis, keepdims=True)
    rounded = fake_quantize(fixed, -largest, largest, num_bits, narrow_range=True)
    # In this order the sum is exact: what is added is 0.
    return ops.stop_gradient(rounded) + (weights - fixed)


def moving_range(minimum: Any, maximum: Any, x: Any, decay: float) -> tuple[Any, Any]:
    """Returns a range moved towards that of a batch, with 0 in it.

    ```
    minimum - (minimum - min(x, 0)) * (1 - decay), and likewise for the maximum
    ```

    Reference:
        TFMOT's `MovingAverageQuantizer`.
    """
    low, high = _with_zero(x)
    share = ops.cast(1.0 - decay, low.dtype)
    return minimum - (minimum - low) * share, maximum - (maximum - high) * share


def widened_range(minimum: Any, maximum: Any, x: Any) -> tuple[Any, Any]:
    """Returns a range widened to hold that of a batch.

    Reference:
        TFMOT's `AllValuesQuantizer`.
    """
    low, high = _with_zero(x)
    return ops.minimum(minimum, low), ops.maximum(maximum, high)


def _with_zero(x: Any) -> tuple[Any, Any]:
    """Returns the least and the largest of some values and 0, of which no gradient is taken."""
    x = ops.stop_gradient(x)
    return ops.minimum(ops.min(x), 0.0), ops.maximum(ops.max(x), 0.0)
