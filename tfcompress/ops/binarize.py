"""Binarises with straight-through gradients, on any Keras backend.

`sign` maps 0 to +1 here, so that a sign is one of two values and fits in a bit.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from tfcompress.ops import fixed_point


def sign(x: Any) -> Any:
    """Returns +1 where `x >= 0`, else -1; of `x`'s shape and type. Its gradient is 0 everywhere."""
    # Not `where`: TensorFlow's select with scalars takes twice the time on a CPU.
    return 2 * ops.cast(x >= 0, x.dtype) - 1


def ste_sign(x: Any, clip_value: float = 1.0) -> Any:
    """Returns `sign(x)` with the clipped straight-through gradient.

    ```
    forward   y = +1 if x >= 0 else -1
    gradient  dL/dx = dL/dy if |x| <= clip_value else 0
    ```

    Args:
        x: tensor of any shape.
        clip_value: where the gradient stops; `float("inf")` never stops it.

    Reference:
        Hubara et al. 2016, "Binarized Neural Networks", arXiv:1602.02830, section 1.3.
    """

    # One function for each call: the clip value is a constant of the graph, not a tensor of it.
    @ops.custom_gradient
    def function(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            return upstream * ops.cast(ops.abs(x) <= clip_value, upstream.dtype)

        return sign(x), gradient

    return function(ops.convert_to_tensor(x))


def kernel_scale(kernel: Any) -> Any:
    """Returns the mean absolute value over all axes but the last, the filter's: shape (filters,).

    It minimises `||W - alpha * sign(W)||` for each filter.

    Reference:
        Rastegari et al. 2016, "XNOR-Net", arXiv:1603.05279, section 3.1, equation 6.
    """
    return ops.mean(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1)))


def binary_values(kernel: Any, shift_scale: bool = False) -> Any:
    """Returns each filter's scale times the signs: `binary_kernel` without its gradient."""
    scale = kernel_scale(kernel)
    return (fixed_point.power_of_two(scale) if shift_scale else scale) * sign(kernel)


def binary_kernel(kernel: Any, clip_value: float = 1.0, shift_scale: bool = False) -> Any:
    """Returns the binary approximation of latent weights, scaled for each filter.

    ```
    forward   B = alpha * sign(W),  alpha = mean |W| over the filter's n weights
    gradient  dL/dW = dL/dB * (1/n + alpha * [|W| <= clip_value])
    ```

    With `shift_scale`, alpha is the power of two next to that mean, and the gradient is
    `dL/dB * alpha * [|W| <= clip_value]`.

    Args:
        kernel: latent weights; the last axis is the filter's.
        clip_value: where the second term of the gradient stops.
        shift_scale: whether alpha is a power of two.

    Returns:
        A tensor of `kernel`'s shape with the values -alpha and +alpha of each filter.

    Reference:
        Rastegari et al. 2016, "XNOR-Net", arXiv:1603.05279, sections 3.1 and 3.3 (algorithm 1,
        the gradient of W~). Powers of two: Hubara et al. 2016, arXiv:1609.07061.
    """
    weights = 1
    for size in kernel.shape[:-1]:
        weights *= size

    @ops.custom_gradient
    def function(kernel: Any) -> Any:
        scale = kernel_scale(kernel)
        scale = fixed_point.power_of_two(scale) if shift_scale else scale

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            inside = ops.cast(ops.abs(kernel) <= clip_value, kernel.dtype)
            return upstream * ((0.0 if shift_scale else 1.0 / weights) + scale * inside)

        return scale * sign(kernel), gradient

    # Of a copy: of a variable, TensorFlow would want a second gradient when it runs eagerly.
    return function(ops.copy(kernel))


def bits(x: Any, activations: str) -> Any:
    """Returns signs by ops that a file can hold, without a gradient of their own.

    Args:
        x: tensor of any shape.
        activations: `"signed"` for -1 and +1, `"unit"` for 0 and 1.
    """
    if activations == "unit":
        return ops.cast(x >= 0, x.dtype)
    return ops.where(x >= 0, 1.0, -1.0)


def unit_weights(kernel: Any, bias: Any, activations: str) -> tuple[Any, Any]:
    """Returns NumPy weights for inputs written as `bits(x, activations)`.

    A sign is `2u - 1` for u in {0, 1}, so `sign @ W + b = u @ (2W) + (b - sum(W))`.

    Args:
        kernel: for signed inputs; the last axis is the filter's.
        bias: (filters,) or None.
        activations: `"signed"` leaves both as they are.

    Returns:
        Kernel and bias.

    Raises:
        ValueError: `activations` is neither `"signed"` nor `"unit"`.
    """
    check_activations(activations)
    if activations == "signed":
        return kernel, bias
    return 2.0 * kernel, (0.0 if bias is None else bias) - kernel.sum(
        axis=tuple(range(kernel.ndim - 1))
    )


def check_activations(activations: str) -> None:
    """Refuses what isn't a way to write binary inputs.

    Raises:
        ValueError: `activations` is neither `"signed"` nor `"unit"`.
    """
    if activations not in ("signed", "unit"):
        raise ValueError(
            f"activations must be 'signed' or 'unit'. Received: activations={activations!r}"
        )
