"""2D convolution with few channels: 1x1, a small core, 1x1."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Stage
from tfcompress.layers.arguments import pair
from tfcompress.layers.channel_rules import ChannelRules, of_product
from tfcompress.ops import factorize


@keras.saving.register_keras_serializable("tfcompress")
class TuckerConv2D(FactorisedConv2D):
    """Convolves in three steps: 1x1 to `rank[0]`, dxd to `rank[1]`, 1x1 to `filters`.

    ```
    kernel    K[i, j, c, n] = sum_pq U[c, p] * G[i, j, p, q] * V[q, n]
    forward   y = conv_1x1(conv_dxd(conv_1x1(x, U), G), V) + b
    per pixel C*P + d^2*P*Q + Q*N multiply-accumulates; Conv2D: d^2*C*N
    ```

    for C channels, N filters and the ranks P and Q; gradients are the chain rule's through each
    step. Strides, padding and dilation are the core's.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, activation, use_bias: as in
            `keras.layers.Conv2D`.
        rank: (P, Q), or one number for both.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Conv2D`; the kernel's are for each factor.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = TuckerConv2D(64, 3, rank=(8, 16), padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 32))).shape == (1, 8, 8, 64)
    True
    >>> layer.count_params() == 32 * 8 + 9 * 8 * 16 + 16 * 64 + 64
    True

    Raises:
        ValueError: a size isn't positive, or strides and dilation are both above 1.

    Reference:
        Kim, Park, Yoo, Choi, Yang, Shin 2016, "Compression of Deep Convolutional Neural Networks
        for Fast and Low Power Mobile Applications", arXiv:1511.06530, section 3.1.
    """

    def _checked_rank(self, rank: Any) -> tuple[int, int]:
        return pair("rank", rank)

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns the ranks at which any kernel of this shape is held exactly."""
        return shape[2], shape[3]

    @classmethod
    def rank_at(cls, step: int, shape: tuple[int, ...]) -> tuple[int, int]:
        """Returns the ranks at a step from 1 to the channels, as filters to channels."""
        return step, max(1, round(step * shape[3] / shape[2]))

    @classmethod
    def matrices(cls, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the matrices whose ranks are this layer's: unfolded by channel and by filter."""
        channels, filters = kernel.shape[2:]
        by_channel = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
        return by_channel, kernel.reshape(-1, filters)

    @classmethod
    def decompose(
        cls, kernel: np.ndarray, rank: tuple[int, int], **options: Any
    ) -> tuple[tuple[int, int], list[np.ndarray], float]:
        """Decomposes by `tfcompress.ops.factorize.tucker2`, whose options these are."""
        decomposition = factorize.tucker2(kernel, rank, **options)
        before, core, behind = decomposition.factors
        return core.shape[2:], [before[None, None], core, behind[None, None]], decomposition.error

    def _build_factors(self, channels: int) -> None:
        before, core, behind = (stage.shape for stage in self.stages(channels))
        self.kernel_in = self._add_factor("kernel_in", before)
        self.kernel_core = self._add_factor("kernel_core", core)
        self.kernel_out = self._add_factor("kernel_out", behind)

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns 1x1, core, 1x1."""
        before, behind = self.rank
        return (
            Stage("in", (1, 1, channels, before)),
            Stage(
                "core",
                (*self.kernel_size, before, behind),
                strides=self.strides,
                padding=self.padding,
                dilation_rate=self.dilation_rate,
            ),
            Stage("out", (1, 1, behind, self.filters)),
        )

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages."""
        return self.kernel_in, self.kernel_core, self.kernel_out

    def channel_rules(self) -> ChannelRules:
        """Says that the first factor holds the channels taken, and the last one the filters."""
        return of_product("kernel_in", "kernel_out", "filters")

    def logical_kernel(self) -> Any:
        """Returns the kernel that the chain stands for: (height, width, channels, filters)."""
        # (height, width, P, Q) by (Q, filters), then by (channels, P): channels come last
        kernel = ops.tensordot(self.kernel_core, self.kernel_out[0, 0], 1)
        kernel = ops.tensordot(kernel, self.kernel_in[0, 0], ([2], [1]))
        return ops.transpose(kernel, (0, 1, 3, 2))
