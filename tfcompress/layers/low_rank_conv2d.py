"""2D convolution to few filters, and a 1x1 convolution that combines them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Stage
from tfcompress.layers.channel_rules import ChannelRules, of_product
from tfcompress.ops import factorize


@keras.saving.register_keras_serializable("tfcompress")
class LowRankConv2D(FactorisedConv2D):
    """Convolves in two steps: dxd to `rank` filters, then 1x1 to `filters`.

    ```
    kernel    K[i, j, c, n] = sum_k U[i, j, c, k] * V[k, n]
    forward   y = conv_1x1(conv_dxd(x, U), V) + b
    per pixel R * (d^2 * C + N) multiply-accumulates; Conv2D: d^2 * C * N
    ```

    for C channels, N filters and the rank R; for a 1x1 kernel this is `LowRankDense` at each pixel.
    Gradients are the chain rule's through both steps.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, activation, use_bias: as in
            `keras.layers.Conv2D`.
        rank: filters of the first step.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Conv2D`; the kernel's are for each factor.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = LowRankConv2D(64, 3, rank=8, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 32))).shape == (1, 8, 8, 64)
    True
    >>> layer.count_params() == 8 * (9 * 32 + 64) + 64
    True

    Raises:
        ValueError: a size isn't positive, or strides and dilation are both above 1.

    Reference:
        Zhang, Zou, He, Sun 2016, "Accelerating Very Deep Convolutional Networks for Classification
        and Detection", arXiv:1505.06798, section 3.1; `from_conv` fits the weights, the technique
        svd with `reconstruction=activations` the responses.
    """

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns the rank at which any kernel of this shape is held exactly."""
        return min(shape[0] * shape[1] * shape[2], shape[3])

    @classmethod
    def matrices(cls, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the one matrix whose rank is this layer's."""
        return (kernel.reshape(-1, kernel.shape[3]),)

    @classmethod
    def decompose(
        cls, kernel: np.ndarray, rank: int, **options: Any
    ) -> tuple[int, list[np.ndarray], float]:
        """Decomposes by `tfcompress.ops.factorize.svd`, which is exact and takes no options."""
        decomposition = factorize.svd(kernel.reshape(-1, kernel.shape[3]), rank)
        left, right = decomposition.factors
        rank = left.shape[1]
        return rank, [left.reshape(*kernel.shape[:3], rank), right[None, None]], decomposition.error

    def _build_factors(self, channels: int) -> None:
        first, second = self.stages(channels)
        self.kernel_in = self._add_factor("kernel_in", first.shape)
        self.kernel_out = self._add_factor("kernel_out", second.shape)

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns dxd, 1x1."""
        return (
            Stage(
                "in",
                (*self.kernel_size, channels, self.rank),
                strides=self.strides,
                padding=self.padding,
                dilation_rate=self.dilation_rate,
            ),
            Stage("out", (1, 1, self.rank, self.filters)),
        )

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages."""
        return self.kernel_in, self.kernel_out

    def channel_rules(self) -> ChannelRules:
        """Says that the first factor holds the channels taken, and the last one the filters."""
        return of_product("kernel_in", "kernel_out", "filters")

    def logical_kernel(self) -> Any:
        """Returns the kernel that the chain stands for: (height, width, channels, filters)."""
        # (height, width, channels, rank) by (rank, filters)
        return ops.tensordot(self.kernel_in, self.kernel_out[0, 0], 1)
