"""2D convolution of outer products within clusters of channels: 1x1, depthwise, 1x1."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.layers._factorised_conv2d import FactorisedConv2D, Shape, Stage, counting
from tfcompress.layers.arguments import positive
from tfcompress.layers.channel_rules import TAKEN, ChannelRules, of_product
from tfcompress.ops import channel_clusters, factorize


@keras.saving.register_keras_serializable("tfcompress")
class BiclusteredConv2D(FactorisedConv2D):
    """Convolves in three steps: 1x1, one window for each channel, 1x1, by clusters of channels.

    ```
    kernel    K[i, j, c, n] = sum_k P[c, h, k] * S[i, j, g, h, k] * Q[g, k, n]
    forward   y = conv_1x1(depthwise_conv_dxd(conv_1x1(x, P'), S), Q') + b
    weights   C*H*R + d^2*G*H*R + G*R*N; Conv2D: d^2*C*N
    per pixel (C + d^2 + N) * G*H*R multiply-accumulates; Conv2D: d^2*C*N
    ```

    for C channels in G clusters, N filters in H clusters, g and h those of c and n, and R outer
    products for each pair of clusters. P' and Q' are P and Q with zeros where a channel isn't in
    the cluster. P, S and Q are trained, and gradients are the chain rule's through each step; the
    clusters are chosen once, by `from_conv`, and stay. Before, each has neighbouring channels.

    It departs from the paper in that the 1x1 convolutions compute the zeros, too: putting channels
    in their clusters' order took longer than that. The clusters save weights, and no time.

    Args:
        filters, kernel_size, padding, activation, use_bias: as in `keras.layers.Conv2D`.
        rank: outer products R of each block.
        strides, dilation_rate: as in `keras.layers.Conv2D`; both strides must be equal.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as in
            `keras.layers.Conv2D`; the kernel's regularizer is for each factor, its initializer for
            those of the 1x1 convolutions.
        input_clusters: G.
        output_clusters: H.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = BiclusteredConv2D(64, 3, rank=4, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 32))).shape == (1, 8, 8, 64)
    True
    >>> layer.kernel_parameters((3, 3, 32, 64)) == 32 * 2 * 4 + 9 * 2 * 2 * 4 + 2 * 4 * 64
    True

    Raises:
        ValueError: a size isn't positive, strides differ, or strides and dilation are both above 1.

    Reference:
        Denton, Zaremba, Bruna, LeCun, Fergus 2014, "Exploiting Linear Structure Within
        Convolutional Networks for Efficient Evaluation", arXiv:1404.0736, section 3.3.
    """

    one_stride = True
    structure = ("input_clusters", "output_clusters")

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        rank: int,
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        dilation_rate: int | tuple[int, int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        input_clusters: int = 2,
        output_clusters: int = 2,
        **kwargs: Any,
    ) -> None:
        self.input_clusters = positive("input_clusters", input_clusters)
        self.output_clusters = positive("output_clusters", output_clusters)
        super().__init__(
            filters,
            kernel_size,
            rank,
            strides,
            padding,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            **kwargs,
        )

    @classmethod
    def full_rank(
        cls, shape: tuple[int, ...], input_clusters: int = 2, output_clusters: int = 2
    ) -> int:
        """Returns the rank at which any kernel of this shape is held exactly."""
        height, width, channels, filters = shape
        block = (
            height * width,
            1,
            math.ceil(channels / input_clusters),
            math.ceil(filters / output_clusters),
        )
        return factorize.cp_full_rank(block)

    @classmethod
    def decompose(
        cls,
        kernel: np.ndarray,
        rank: int,
        *,
        input_clusters: int = 2,
        output_clusters: int = 2,
        **options: Any,
    ) -> tuple[int, list[np.ndarray], float]:
        """Decomposes by `ops.channel_clusters.biclustered`, whose options these are."""
        rank = min(rank, cls.full_rank(kernel.shape, input_clusters, output_clusters))
        clusters = input_clusters, output_clusters
        found = channel_clusters.biclustered(kernel, rank, clusters, **options)
        first, spatial, last, *numbers = found.factors
        factors = [first[None, None], spatial[..., None], last[None, None]]
        return rank, [*factors, *numbers], found.error

    def _build_factors(self, channels: int) -> None:
        inputs, outputs = self.input_clusters, self.output_clusters
        self.kernel_in = self._add_factor("kernel_in", (1, 1, channels, outputs * self.rank))
        products = inputs * outputs * self.rank
        self.kernel_spatial = self._add_depthwise(
            "kernel_spatial", (*self.kernel_size, products, 1)
        )
        self.kernel_out = self._add_factor("kernel_out", (1, 1, inputs * self.rank, self.filters))
        self.input_cluster = self._add_numbers("input_cluster", (channels,), counting(inputs))
        self.output_cluster = self._add_numbers(
            "output_cluster", (self.filters,), counting(outputs)
        )

    def stages(self, channels: int) -> tuple[Stage, ...]:
        """Returns 1x1, depthwise, 1x1."""
        products = self.input_clusters * self.output_clusters * self.rank
        return (
            Stage("in", (1, 1, channels, products)),
            Stage(
                "spatial",
                (*self.kernel_size, products, 1),
                depthwise=True,
                strides=self.strides,
                padding=self.padding,
                dilation_rate=self.dilation_rate,
            ),
            Stage("out", (1, 1, products, self.filters)),
        )

    def stage_kernels(self) -> tuple[Any, ...]:
        """Returns the kernels of the stages, with zeros outside of the clusters."""
        inputs, outputs, rank = self.input_clusters, self.output_clusters, self.rank
        channels, filters = self.kernel_in.shape[2], self.filters
        # (channels, G, 1, 1) * (channels, 1, H, R)
        members = ops.one_hot(ops.cast(self.input_cluster, "int32"), inputs)
        members = ops.cast(members, self.kernel_in.dtype)[:, :, None, None]
        before = members * ops.reshape(self.kernel_in, (channels, 1, outputs, rank))
        # (1, H, 1, filters) * (G, 1, R, filters)
        members = ops.one_hot(ops.cast(self.output_cluster, "int32"), outputs, axis=0)
        members = ops.cast(members, self.kernel_out.dtype)[None, :, None]
        behind = members * ops.reshape(self.kernel_out, (inputs, 1, rank, filters))
        return (
            ops.reshape(before, (1, 1, channels, -1)),
            self.kernel_spatial,
            ops.reshape(behind, (1, 1, -1, filters)),
        )

    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the factors in place of a kernel of this shape."""
        height, width, channels, filters = shape
        inputs, outputs = self.input_clusters, self.output_clusters
        taps = height * width * inputs * outputs
        return (channels * outputs + taps + inputs * filters) * self.rank

    def macs_without_zeros(self, input_shape: Shape, output_shape: Shape) -> int:
        """Counts multiply-accumulates for one image as the paper does, without those with 0."""
        first, _, last = self.stages(input_shape[-1] or 1)
        before = math.prod(n or 1 for n in input_shape[1:-1]) * math.prod(first.shape)
        behind = math.prod(n or 1 for n in output_shape[1:-1]) * math.prod(last.shape)
        zeros = before - before // self.input_clusters + behind - behind // self.output_clusters
        return self.macs(input_shape, output_shape) - zeros

    def channel_rules(self) -> ChannelRules:
        """Says that the first factor holds the channels taken, and the last one the filters."""
        rules = of_product("kernel_in", "kernel_out", "filters")
        clusters = {"input_cluster": (TAKEN,), "output_cluster": ("filters",)}
        return dataclasses.replace(rules, weights={**rules.weights, **clusters})

    def logical_kernel(self) -> Any:
        """Returns the kernel that the chain stands for: (height, width, channels, filters)."""
        before, spatial, behind = self.stage_kernels()
        # (1, 1, channels, products) * (height, width, 1, products), then by (products, filters)
        spread = ops.multiply(before, ops.transpose(spatial, (0, 1, 3, 2)))
        return ops.tensordot(spread, behind[0, 0], 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        clusters = {name: getattr(self, name) for name in self.structure}
        return {**super().get_config(), **clusters}
