"""2D convolution as a vertical and a horizontal one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Stage
from tfcompress.layers.channel_rules import ChannelRules, of_product
from tfcompress.ops import factorize


@keras.saving.register_keras_serializable("tfcompress")
class SpatialSeparableConv2D(FactorisedConv2D):
    """Convolves in two steps: dx1 to `rank` channels, then 1xd to `filters`.

    ```
    kernel    K[i, j, c, n] = sum_k V[i, c, k] * H[j, k, n]
    forward   y = conv_1xd(conv_dx1(x, V), H) + b
    per pixel R * d * (C + N) multiply-accumulates; Conv2D: d^2 * C * N
    ```

    for C channels, N filters and the rank R; gradients are the chain rule's through both steps. The
    vertical stride is the first step's and the horizontal one the second's, so that neither
    computes a pixel that isn't used.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, activation, use_bias: as in
            `keras.layers.Conv2D`.
        rank: channels between the two steps.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Conv2D`; the kernel's are for each factor.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = SpatialSeparableConv2D(64, 3, rank=8, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 32))).shape == (1, 8, 8, 64)
    True
    >>> layer.count_params() == 8 * 3 * (32 + 64) + 64
    True

    Raises:
        ValueError: a size isn't positive, or strides and dilation are both above 1.

    Reference:
        Jaderberg, Vedaldi, Zisserman 2014, "Speeding up Convolutional Neural Networks with Low
        Rank Expansions", arXiv:1405.3866, section 2 (scheme 2).
    """

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns the rank at which any kernel of this shape is held exactly."""
        return min(shape[0] * shape[2], shape[1] * shape[3])

    @classmethod
    def matrices(cls, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the one matrix whose rank is this layer's."""
        return (factorize.spatial_matrix(kernel),)

    @classmethod
    def decompose(
        cls, kernel: np.ndarray, rank: int, **options: Any
    ) -> tuple[int, list[np.ndarray], float]:
        """Decomposes by `tfcompress.ops.factorize.spatial`, which is exact and takes no options."""
        decomposition = factorize.spatial(kernel, rank)
        return decomposition.factors[0].shape[3], list(decomposition.factors), decomposition.error

    def _build_factors(self, channels: int) -> None:
        first, second = self.stages(channels)
        self.kernel_vertical = self._add_factor("kernel_vertical", first.shape)
        self.kernel_horizontal = self._add_factor("kernel_horizontal", second.shape)

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns the vertical and the horizontal convolution."""
        height, width = self.kernel_size
        return (
            Stage(
                "vertical",
                (height, 1, channels, self.rank),
                strides=(self.strides[0], 1),
                padding=self.padding,
                dilation_rate=(self.dilation_rate[0], 1),
            ),
            Stage(
                "horizontal",
                (1, width, self.rank, self.filters),
                strides=(1, self.strides[1]),
                padding=self.padding,
                dilation_rate=(1, self.dilation_rate[1]),
            ),
        )

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages."""
        return self.kernel_vertical, self.kernel_horizontal

    def channel_rules(self) -> ChannelRules:
        """Says that the first factor holds the channels taken, and the last one the filters."""
        return of_product("kernel_vertical", "kernel_horizontal", "filters")

    def logical_kernel(self) -> Any:
        """Returns the kernel that the chain stands for: (height, width, channels, filters)."""
        # (height, channels, rank) by (width, rank, filters): (height, channels, width, filters)
        kernel = ops.tensordot(self.kernel_vertical[:, 0], self.kernel_horizontal[0], ([2], [1]))
        return ops.transpose(kernel, (0, 2, 1, 3))
