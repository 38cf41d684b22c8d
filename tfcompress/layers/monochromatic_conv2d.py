"""2D convolution whose filters see one colour each: 1x1, then one window a filter."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Stage, counting
from tfcompress.layers.channel_rules import TAKEN, ChannelRules
from tfcompress.ops import channel_clusters


@keras.saving.register_keras_serializable("tfcompress")
class MonochromaticConv2D(FactorisedConv2D):
    """Convolves in two steps: 1x1 to each filter's colour, then a window for each filter.

    ```
    kernel    K[i, j, c, n] = P[c, color[n]] * S[i, j, n]
    forward   y = depthwise_conv_dxd(conv_1x1(x, P[:, color]), S) + b
    per pixel (C + d^2) * N multiply-accumulates; Conv2D: d^2 * C * N
    ```

    for C channels and N filters, of which those of one cluster share a colour: a mixture of the
    input channels. P and S are trained, and gradients are the chain rule's through both steps;
    which colour a filter has is chosen once, by `from_conv`, and stays. Before, they count up.

    It departs from the paper in that the first step makes each filter's colour, not each colour
    once: so filters keep their order and clusters may have any size, at C * N in place of C * rank
    multiply-accumulates. Strides are the second step's.

    Args:
        filters, kernel_size, padding, activation, use_bias: as in `keras.layers.Conv2D`.
        strides, dilation_rate: likewise; both strides must be equal.
        rank: different colours.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Conv2D`; the kernel's regularizer is for each factor, its initializer for
            the colours.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = MonochromaticConv2D(64, 7, rank=8, strides=2, padding="same")
    >>> layer(keras.ops.ones((1, 16, 16, 3))).shape == (1, 8, 8, 64)
    True
    >>> sum(w.shape[-1] for w in layer.non_trainable_weights)  # a colour's number for each filter
    64

    Raises:
        ValueError: a size isn't positive, strides differ, or strides and dilation are both above 1.

    Reference:
        Denton, Zaremba, Bruna, LeCun, Fergus 2014, "Exploiting Linear Structure Within
        Convolutional Networks for Efficient Evaluation", arXiv:1404.0736, section 3.2.
    """

    one_stride = True

    @classmethod
    def full_rank(cls, shape: tuple[int, ...]) -> int:
        """Returns the rank at which each filter has a colour of its own, and none could be nearer.

        A kernel is held exactly only if each of its filters has one colour alone.
        """
        return shape[3]

    @classmethod
    def decompose(
        cls, kernel: np.ndarray, rank: int, **options: Any
    ) -> tuple[int, list[np.ndarray], float]:
        """Decomposes by `ops.channel_clusters.monochromatic`, whose options these are."""
        found = channel_clusters.monochromatic(kernel, rank, **options)
        colors, spatial, color = found.factors
        return colors.shape[1], [colors[None, None], spatial[..., None], color], found.error

    @classmethod
    def like(cls, conv: keras.layers.Conv2D, rank: Any, **structure: Any) -> MonochromaticConv2D:
        """Makes a layer of a convolution's geometry, without weights, of at most full rank."""
        return super().like(conv, min(rank, conv.filters), **structure)

    def _build_factors(self, channels: int) -> None:
        self.kernel_colors = self._add_factor("kernel_colors", (1, 1, channels, self.rank))
        self.kernel_spatial = self._add_depthwise(
            "kernel_spatial", (*self.kernel_size, self.filters, 1)
        )
        self.color = self._add_numbers("color", (self.filters,), counting(self.rank))

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns 1x1, depthwise."""
        return (
            Stage("color", (1, 1, channels, self.filters)),
            Stage(
                "spatial",
                (*self.kernel_size, self.filters, 1),
                depthwise=True,
                strides=self.strides,
                padding=self.padding,
                dilation_rate=self.dilation_rate,
            ),
        )

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages."""
        chosen = ops.one_hot(ops.cast(self.color, "int32"), self.rank, axis=0)
        chosen = ops.cast(chosen, self.kernel_colors.dtype)  # (rank, filters)
        return ops.matmul(self.kernel_colors, chosen), self.kernel_spatial

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the factors in place of a kernel of this shape."""
        height, width, channels, filters = shape
        return channels * self.rank + height * width * filters

    def channel_rules(self) -> ChannelRules:
        """Says that colours hold the channels taken, and the second step holds the filters."""
        return ChannelRules(
            weights={
                "kernel_colors": (None, None, TAKEN, None),
                "kernel_spatial": (None, None, "filters", None),
                "bias": ("filters",),
                "color": ("filters",),
            },
            outputs=("filters",),
            sizes={"filters": "filters"},
        )

    def logical_kernel(self) -> Any:
        """Returns the kernel that the chain stands for: (height, width, channels, filters)."""
        colors, spatial = self.stage_kernels()
        # (1, 1, channels, filters) * (height, width, 1, filters)
        return ops.multiply(colors, ops.transpose(spatial, (0, 1, 3, 2)))
