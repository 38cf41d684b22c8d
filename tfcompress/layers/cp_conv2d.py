"""2D convolution whose kernel is a sum of rank-1 tensors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Stage
from tfcompress.layers.channel_rules import ChannelRules, of_product
from tfcompress.ops import factorize


@keras.saving.register_keras_serializable("tfcompress")
class CPConv2D(FactorisedConv2D):
    """Convolves in four steps: 1x1, vertical, horizontal, 1x1.

    ```
    kernel    K[i, j, c, n] = sum_r A[i, r] * B[j, r] * P[c, r] * Q[r, n]
    forward   y = conv_1x1(dw_1xd(dw_dx1(conv_1x1(x, P), A), B), Q) + b
    per pixel R * (C + 2d + N) multiply-accumulates; Conv2D: d^2 * C * N
    ```

    with C channels, N filters, R components and the depthwise convolutions dw; gradients are the
    chain rule's through each step. All steps are built-in convolutions, which any runtime computes
    fast.

    It departs from the paper where strides are above 1: the two depthwise convolutions are one
    then, with the kernel A[i, r] * B[j, r], since TensorFlow's depthwise convolution takes one
    stride for both axes; for 3x3 at stride 2 it costs the same.

    A kernel of height or width 1 has no step for that axis, and a 1x1 kernel only the two 1x1
    steps, the first of which has the strides.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, activation, use_bias: as in
            `keras.layers.Conv2D`; the strides of both axes are the same.
        rank: number of components R.
        kernel_initializer: of the two 1x1 kernels; the depthwise ones keep the variance.
        bias_initializer, kernel_regularizer, bias_regularizer: as in `keras.layers.Conv2D`; the
            kernel's is for each factor.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = CPConv2D(64, 3, rank=8, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 32))).shape == (1, 8, 8, 64)
    True
    >>> layer.count_params() == 8 * (32 + 3 + 3 + 64) + 64
    True

    Raises:
        ValueError: a size isn't positive, the strides differ, or strides and dilation are both
            above 1.

    Reference:
        Lebedev, Ganin, Rakhuba, Oseledets, Lempitsky 2015, "Speeding-up Convolutional Neural
        Networks Using Fine-tuned CP-Decomposition", arXiv:1412.6553, section 3.
    """

    one_stride = True

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns the rank at which any kernel of this shape is held exactly."""
        return factorize.cp_full_rank(shape)

    @classmethod
    def decompose(
        cls, kernel: np.ndarray, rank: int, **options: Any
    ) -> tuple[int, list[np.ndarray], float]:
        """Decomposes by `tfcompress.ops.factorize.cp`, whose options these are."""
        decomposition = factorize.cp(kernel, rank, **options)
        a, b, p, q = decomposition.factors
        height, width = kernel.shape[:2]
        weights = [p[None, None]]
        if height > 1:
            weights.append(a[:, None, :, None])  # (height, 1, rank, 1)
        else:
            weights[0] = weights[0] * a
        if width > 1:
            weights.append(b[None, :, :, None])  # (1, width, rank, 1)
        else:
            weights[0] = weights[0] * b
        weights.append(q.T[None, None])
        return p.shape[1], weights, decomposition.error

    def _build_factors(self, channels: int) -> None:
        height, width = self.kernel_size
        self.kernel_in = self._add_factor("kernel_in", (1, 1, channels, self.rank))
        self.kernel_vertical = self.kernel_horizontal = None
        if height > 1:
            self.kernel_vertical = self._add_depthwise("kernel_vertical", (height, 1, self.rank, 1))
        if width > 1:
            self.kernel_horizontal = self._add_depthwise(
                "kernel_horizontal", (1, width, self.rank, 1)
            )
        self.kernel_out = self._add_factor("kernel_out", (1, 1, self.rank, self.filters))

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns 1x1, depthwise, depthwise, 1x1."""
        height, width = self.kernel_size
        pointwise = (1, 1, channels, self.rank)
        last = Stage("out", (1, 1, self.rank, self.filters))
        if height == width == 1:
            return Stage("in", pointwise, strides=self.strides, padding=self.padding), last
        if self._merged():
            shapes = {"spatial": (height, width)}
        else:
            shapes = {"vertical": (height, 1), "horizontal": (1, width)}
        down, across = self.dilation_rate
        spatial = (
            Stage(
                name,
                (*shape, self.rank, 1),
                depthwise=True,
                strides=self.strides,
                padding=self.padding,
                # 1 where there is one tap: nothing to dilate.
                dilation_rate=(down if shape[0] > 1 else 1, across if shape[1] > 1 else 1),
            )
            for name, shape in shapes.items()
            if shape != (1, 1)
        )
        return Stage("in", pointwise), *spatial, last

    def _merged(self) -> bool:
        """Returns whether the two depthwise convolutions are one."""
        return self.strides != (1, 1) and min(self.kernel_size) > 1

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages."""
        both = [k for k in (self.kernel_vertical, self.kernel_horizontal) if k is not None]
        if self._merged():
            both = [ops.multiply(*both)]
        return (self.kernel_in, *both, self.kernel_out)

    def channel_rules(self) -> ChannelRules:
        """Says that the first factor holds the channels taken, and the last one the filters."""
        return of_product("kernel_in", "kernel_out", "filters")

    def logical_kernel(self) -> Any:
        """Returns the kernel that the chain stands for: (height, width, channels, filters)."""
        taps = ops.ones((1, 1, self.rank, 1), self.kernel_in.dtype)
        for kernel in (self.kernel_vertical, self.kernel_horizontal):
            taps = taps if kernel is None else ops.multiply(taps, kernel)
        # (height, width, 1, rank) * (1, 1, channels, rank), then by (rank, filters)
        spread = ops.multiply(ops.transpose(taps, (0, 1, 3, 2)), self.kernel_in)
        return ops.tensordot(spread, self.kernel_out[0, 0], 1)
