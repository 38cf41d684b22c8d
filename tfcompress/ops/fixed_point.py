"""Fixed-point numbers by shifts: powers of two, rounded values and errors, on any Keras backend."""

from __future__ import annotations

from typing import Any

from keras import ops

from tfcompress.ops import few_bits

# The least positive normal number of 32 bits: what is smaller has no logarithm everywhere.
_LEAST = 2.0**-126


def power_of_two(x: Any) -> Any:
    """Returns `sign(x) * 2^round(log2 |x|)`, and 0 for 0: AP2(x), and of what is positive Shift(x).

    Args:
        x: tensor of any shape.

    Reference:
        Hubara, Courbariaux, Soudry, El-Yaniv, Bengio 2016, "Quantized Neural Networks",
        arXiv:1609.07061, section 2.4; Wu, Li, Chen, Shi 2018, arXiv:1802.04680, section 3.1,
        equation 6.
    """
    exponent = ops.round(ops.log2(ops.maximum(ops.abs(x), _LEAST)))
    return ops.sign(x) * ops.power(ops.cast(2.0, x.dtype), exponent)


def step(num_bits: int) -> float:
    """Returns the step between the fixed-point numbers of so many bits: `2^(1 - num_bits)`."""
    return 2.0 ** (1 - num_bits)


def rounded(x: Any, num_bits: int) -> Any:
    """Returns the nearest fixed-point numbers: `clip(s * round(x / s), s - 1, 1 - s)`.

    Args:
        x: tensor of any shape.
        num_bits: k, 2 or more; s is `2^(1 - k)`, so that 2 bits have the values -1/2, 0 and 1/2.

    Reference:
        Wu et al. 2018, arXiv:1802.04680, section 3.1, equation 5.
    """
    size = step(num_bits)
    return ops.clip(ops.round(x / size) * size, size - 1.0, 1.0 - size)


def rounded_weights(kernel: Any, num_bits: int) -> Any:
    """Returns `rounded(kernel, num_bits)`, whose gradient goes to the kernel straight through."""
    return few_bits.straight_through(kernel, rounded(kernel, num_bits))


def rounded_errors(values: Any, num_bits: int) -> Any:
    """Returns the values themselves, with a gradient of a few bits that is 1 at most.

    ```
    forward   y = x
    gradient  dL/dx = rounded(e / Shift(max |e|), num_bits),  e = dL/dy
    ```

    The maximum is over all values of all examples. What size the errors had is lost: a training
    that goes by it, such as plain gradient descent, doesn't get along with this.

    Args:
        values: of any shape.
        num_bits: of the errors.

    Reference:
        Wu et al. 2018, arXiv:1802.04680, section 3.3.3, equation 10.
    """

    @ops.custom_gradient
    def function(values: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            return rounded(upstream / largest_shift(upstream), num_bits)

        return ops.copy(values), gradient

    return function(ops.copy(values))


def largest_shift(x: Any) -> Any:
    """Returns the power of two next to the largest |x|, above 0 where all are 0."""
    return power_of_two(ops.maximum(ops.max(ops.abs(x)), _LEAST))
