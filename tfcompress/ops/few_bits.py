"""Rounds weights to a few values a filter, with the papers' gradients, on any Keras backend."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

Axes = tuple[int, ...]
# Of a step or a scale that training has moved to 0 or below.
_LEAST = 1e-8


def shape_of_scales(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """Returns a kernel's shape with 1 in place of the axes of one filter."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def mean_above(kernel: Any, axes: Axes, threshold: float) -> Any:
    """Returns the mean of each filter's |W| above a share of its largest one.

    Args:
        kernel: latent weights.
        axes: those of one filter; they stay, with a size of 1.
        threshold: the share.
    """
    size = ops.abs(kernel)
    return _mean(size, size > threshold * ops.max(size, axis=axes, keepdims=True), axes)


def _mean(size: Any, chosen: Any, axes: Axes) -> Any:
    """Returns the mean of the chosen values of each filter, 0 where there are none."""
    chosen = ops.cast(chosen, size.dtype)
    count = ops.maximum(ops.sum(chosen, axis=axes, keepdims=True), 1.0)
    return ops.sum(size * chosen, axis=axes, keepdims=True) / count


def ternary(kernel: Any, axes: Axes, threshold: float = 0.7) -> Any:
    """Returns a kernel with the values -alpha, 0 and alpha in each filter.

    ```
    forward   T = alpha * sign(W) * [|W| > D],  D = threshold * mean |W|,
              alpha = mean of the |W| above D
    gradient  dL/dW = dL/dT
    ```

    Args:
        kernel: latent weights.
        axes: those of one filter, over which both means are taken.
        threshold: 0.7 minimises ||W - T|| of weights that are spread normally, nearly.

    Reference:
        Li, Zhang, Liu 2016, "Ternary Weight Networks", arXiv:1605.04711, section 2.
    """

    @ops.custom_gradient
    def function(kernel: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return args[0] if upstream is None else upstream

        size = ops.abs(kernel)
        above = size > threshold * ops.mean(size, axis=axes, keepdims=True)
        signs = ops.sign(kernel) * ops.cast(above, kernel.dtype)
        return _mean(size, above, axes) * signs, gradient

    return function(ops.copy(kernel))


def trained_ternary(kernel: Any, scale: Any, axes: Axes, threshold: float = 0.05) -> Any:
    """Returns a kernel with the values -s, 0 and s in each filter, with a trained s.

    ```
    forward   T = s * t,  t = sign(W) * [|W| > threshold * max |W|]
    gradient  dL/ds = sum over the filter of t * dL/dT
              dL/dW = dL/dT * (s where t isn't 0, else 1)
    ```

    The paper has one such number for the positive and one for the negative weights of a layer. With
    one for both, and for each filter, 2 bits and a scale hold the kernel.

    Args:
        kernel: latent weights.
        scale: s, of the kernel's shape with 1 in place of the axes.
        axes: those of one filter.
        threshold: share of the filter's largest weight.

    Reference:
        Zhu, Han, Mao, Dally 2017, "Trained Ternary Quantization", arXiv:1612.01064, section 3.
    """

    @ops.custom_gradient
    def function(kernel: Any, scale: Any) -> Any:
        size = ops.abs(kernel)
        above = size > threshold * ops.max(size, axis=axes, keepdims=True)
        large = ops.cast(above, kernel.dtype)
        signs = ops.sign(kernel) * large

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            to_scale = ops.sum(upstream * signs, axis=axes, keepdims=True)
            return upstream * (scale * large + (1.0 - large)), to_scale

        return scale * signs, gradient

    return function(ops.copy(kernel), ops.copy(scale))


def levels(num_bits: int) -> tuple[int, int]:
    """Returns the lowest and highest integer of so many bits; of 8, without -128.

    Files hold 8-bit weights from -127 to 127, and weights of fewer bits over their whole range.
    """
    most = 2 ** (num_bits - 1)
    return (1 - most if num_bits == 8 else -most), most - 1


def first_step(kernel: Any, axes: Axes, num_bits: int) -> Any:
    """Returns the step with which training begins: 2 * mean |W| / sqrt(Qp), for each filter.

    Args:
        kernel: latent weights.
        axes: those of one filter; they stay, with a size of 1.
        num_bits: of the integers.

    Reference:
        Esser et al. 2020, arXiv:1902.08153, section 2.1.
    """
    mean = ops.mean(ops.abs(kernel), axis=axes, keepdims=True)
    return 2.0 * mean / levels(num_bits)[1] ** 0.5


def _square_root(size: Any, dtype: str) -> Any:
    """Returns the root of a size, which is a tensor where the model leaves it open."""
    return size**0.5 if isinstance(size, int) else ops.sqrt(ops.cast(size, dtype))


def learned_step(
    values: Any, step: Any, axes: Axes, integers: tuple[int, int], *, batch: bool = False
) -> Any:
    """Returns the values rounded to integers of a few bits times a step that is trained.

    ```
    forward   y = s * round(clip(v / s, -Qn, Qp))
    gradient  dL/dv = dL/dy where -Qn <= v / s <= Qp, else 0
              dL/ds = g * sum of dL/dy * (round(v / s) - v / s inside, -Qn below, Qp above)
    ```

    with `g = 1 / sqrt(n * Qp)` for a step that n values share: without it the steps move by too
    much beside the weights, and few bits diverge.

    Args:
        values: latent weights, or activations.
        step: s, of their shape with 1 in place of the axes; held above 0.
        axes: those that share a step.
        integers: -Qn and Qp.
        batch: whether the first axis is that of the examples, which doesn't count in n.

    Reference:
        Esser, McKinstry, Bablani, Appuswamy, Modha 2020, "Learned Step Size Quantization",
        arXiv:1902.08153, section 2, equations 1 to 3 and 5.
    """
    low, high = integers
    sharing = [axis for axis in axes if axis or not batch]

    @ops.custom_gradient
    def function(values: Any, step: Any) -> Any:
        safe = ops.maximum(step, _LEAST)
        ratio = values / safe
        rounded = ops.round(ops.clip(ratio, low, high))

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            inside = ops.cast(ops.logical_and(ratio >= low, ratio <= high), values.dtype)
            shared = math.prod(ops.shape(values)[axis] for axis in sharing)
            to_step = ops.sum(upstream * (rounded - inside * ratio), axis=axes, keepdims=True)
            return upstream * inside, to_step / _square_root(shared * high, step.dtype)

        return rounded * safe, gradient

    return function(ops.copy(values), ops.copy(step))


def learned_clip(values: Any, clip: Any, num_bits: int) -> Any:
    """Returns activations rounded to `2**num_bits` even levels from 0 to a bound that is trained.

    ```
    forward   y = s * round(clip(x, 0, alpha) / s),  s = alpha / (2^num_bits - 1)
    gradient  dL/dx = dL/dy where 0 <= x < alpha, else 0
              dL/dalpha = sum of dL/dy where x >= alpha
    ```

    Args:
        values: activations of any shape.
        clip: alpha, a scalar; held above 0.
        num_bits: 1 to 8.

    Reference:
        Choi et al. 2018, "PACT", arXiv:1805.06085, section 3, equations 1 to 3.
    """
    steps = 2**num_bits - 1

    @ops.custom_gradient
    def function(values: Any, clip: Any) -> Any:
        safe = ops.maximum(clip, _LEAST)
        step = safe / steps

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            above = ops.cast(values >= safe, values.dtype)
            inside = ops.cast(values >= 0, values.dtype) - above
            return upstream * inside, ops.sum(upstream * above)

        return step * ops.round(ops.clip(values, 0.0, safe) / step), gradient

    return function(ops.copy(values), ops.copy(clip))


def straight_through(values: Any, rounded: Any) -> Any:
    """Returns the rounded values; their gradient goes to the values straight through."""

    @ops.custom_gradient
    def function(values: Any, rounded: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            return upstream, ops.zeros_like(upstream)

        return ops.copy(rounded), gradient

    return function(ops.copy(values), ops.stop_gradient(rounded))


def even_levels(kernel: Any, num_bits: int) -> Any:
    """Returns weights on `2**num_bits` even levels from -1 to 1, without 0; DoReFa's weights.

    ```
    1 bit     y = mean |W| * sign(W);  dL/dW = dL/dy
    else      y = 2 * round(n * (t / (2 * max |t|) + 1/2)) / n - 1,  t = tanh(W), n = 2^num_bits - 1
              the gradient is that of y without its rounding, the largest weight's included
    ```

    Mean and maximum are the layer's.

    Args:
        kernel: latent weights.
        num_bits: 1 to 8.

    Reference:
        Zhou et al. 2016, "DoReFa-Net", arXiv:1606.06160, section 2.3, equations 8 and 9.
    """
    if num_bits == 1:
        scale = ops.mean(ops.abs(ops.stop_gradient(kernel)))
        return straight_through(kernel, scale * (2.0 * ops.cast(kernel >= 0, kernel.dtype) - 1.0))
    squashed = ops.tanh(kernel)
    largest = ops.maximum(ops.max(ops.abs(squashed)), _LEAST)
    steps, shares = 2**num_bits - 1, squashed / (2.0 * largest) + 0.5
    return 2.0 * straight_through(shares, ops.round(steps * shares) / steps) - 1.0


# Of 2 to 5 and 8 bits: factors of the root mean square and of the mean size, from which the bound
# of the least squared error follows, fitted over several distributions. They are those of the
# authors' group (github.com/foundation-model-stack/fms-model-optimizer, sawb_utils.py).
SAWB_FACTORS = {
    2: (3.12, 2.064),
    3: (7.509, 6.892),
    4: (12.68, 12.80),
    5: (17.74, 18.64),
    8: (31.76, 35.04),
}


def statistics_levels(kernel: Any, num_bits: int) -> Any:
    """Returns weights on `2**num_bits` even levels from -a to a, without 0; SAWB's weights.

    ```
    forward   y = a * (2 * round(n * (clip(W / a, -1, 1) / 2 + 1/2)) / n - 1),  n = 2^num_bits - 1
              a = c1 * sqrt(mean W^2) - c2 * mean |W|;  max |W| where that isn't positive
    gradient  dL/dW = dL/dy, beyond the bound as well
    ```

    Args:
        kernel: latent weights; the means are over all of them.
        num_bits: one of `SAWB_FACTORS`.

    Reference:
        Choi, Chuang, Wang, Venkataramani, Srinivasan, Gopalakrishnan 2018, "Bridging the Accuracy
        Gap for 2-bit Quantized Neural Networks", arXiv:1807.06964, section 3.
    """
    steps, (of_root, of_mean) = 2**num_bits - 1, SAWB_FACTORS[num_bits]
    fixed = ops.stop_gradient(kernel)
    size = ops.abs(fixed)
    bound = of_root * ops.sqrt(ops.mean(ops.square(fixed))) - of_mean * ops.mean(size)
    bound = ops.maximum(ops.where(bound > 0, bound, ops.max(size)), _LEAST)
    shares = ops.clip(fixed / bound, -1.0, 1.0) / 2.0 + 0.5
    return straight_through(kernel, bound * (2.0 * ops.round(steps * shares) / steps - 1.0))


def signs(kernel: Any, noise: Any = None) -> Any:
    """Returns -1 and 1, by the weights' signs or drawn by their size; BinaryConnect's weights.

    ```
    forward   1 where W >= 0, else -1;  with noise u: 1 where u < clip((W + 1) / 2, 0, 1), else -1
    gradient  dL/dW = dL/dy
    ```

    Args:
        kernel: latent weights, which stay between -1 and 1.
        noise: of their shape, drawn evenly from 0 to below 1; None for the signs.

    Reference:
        Courbariaux, Bengio, David 2015, "BinaryConnect", arXiv:1511.00363, section 2.2.
    """
    above = kernel >= 0 if noise is None else noise < ops.clip((kernel + 1.0) / 2.0, 0.0, 1.0)
    return straight_through(kernel, 2.0 * ops.cast(above, kernel.dtype) - 1.0)


def rounded_gradient(values: Any, noise: Any, num_bits: int) -> Any:
    """Returns the values themselves, with a gradient of a few bits.

    ```
    forward   y = x
    gradient  dL/dx = 2 * m * (round(n * clip(g / (2 * m) + 1/2 + noise / n, 0, 1)) / n - 1/2),
              g = dL/dy, m = max |g| of the example, n = 2^num_bits - 1
    ```

    Args:
        values: (batch, ...).
        noise: of their shape, drawn evenly from -1/2 to 1/2.
        num_bits: of the gradients.

    Reference:
        Zhou et al. 2016, "DoReFa-Net", arXiv:1606.06160, section 2.5, equation 12.
    """
    steps = 2**num_bits - 1
    axes = tuple(range(1, len(values.shape)))

    @ops.custom_gradient
    def function(values: Any, noise: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            largest = ops.max(ops.abs(upstream), axis=axes, keepdims=True)
            share = upstream / (2.0 * ops.where(largest > 0, largest, ops.ones_like(largest)))
            levels = ops.round(steps * ops.clip(share + 0.5 + noise / steps, 0.0, 1.0)) / steps
            return 2.0 * largest * (levels - 0.5), ops.zeros_like(noise)

        return ops.copy(values), gradient

    return function(ops.copy(values), noise)
