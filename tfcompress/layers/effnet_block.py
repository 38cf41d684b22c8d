"""EffNet's block: a 1xd and a dx1 depthwise convolution with pooling between them."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfcompress.layers.arguments import positions, positive
from tfcompress.layers.channel_rules import TAKEN, ChannelRules, of_norms
from tfcompress.layers.composite import Composite, he_depthwise


@keras.saving.register_keras_serializable("tfcompress")
class EffNetBlock(Composite):
    """Convolves 1x1, then rows and columns depthwise with pooling between them, then 2x1.

    ```
    a = act(BN(conv1x1(x)))                       B channels, at H x W
    b = act(BN(depthwise1xd(a)))                  at H x W
    p = maxpool1x2(b)                             at H x W/2
    c = act(BN(depthwise_dx1(p)))                 at H x W/2
    y = act(BN(conv2x1(c; strides (2, 1))))       N filters, at H/2 x W/2
    weights   C*B + d*B + d*B + 2*B*N             without BN; C channels of x
    ```

    It halves the width after the first depthwise convolution and the height in the last one, which
    therefore sees two values where a pooling and a 1x1 convolution would see one.

    It departs from the paper in two points. With `strides=1`, which the paper's networks don't
    have, there is no pooling, and the last convolution keeps the size. And the paper doesn't say
    where batch normalisation stands; here it is before each activation.

    Args:
        filters: channels of the output, N.
        bottleneck_filters: B; half of `filters` by default, as in the paper's networks.
        kernel_size: d.
        strides: 2 to halve height and width (rounded down for the width, up for the height), or 1.
        activation: behind each batch normalisation. The paper has leaky ReLU.

    Input shape:
        `(batch, height, width, channels)`; with strides 2, a width of 2 or more.

    Output shape:
        `(batch, ceil(height / 2), floor(width / 2), filters)` with strides 2.

    Example:
    >>> import keras
    >>> EffNetBlock(64)(keras.ops.ones((1, 32, 32, 3))).shape == (1, 16, 16, 64)
    True

    Raises:
        ValueError: a size below 1, or strides other than 1 or 2.

    Reference:
        Freeman, Roese-Koerner, Kummert 2018, "EffNet", arXiv:1801.06434, section 3.
    """

    parts = (
        "pointwise",
        "pointwise_bn",
        "pointwise_act",
        "row",
        "row_bn",
        "row_act",
        "pool",
        "column",
        "column_bn",
        "column_act",
        "last",
        "last_bn",
        "last_act",
    )

    def __init__(
        self,
        filters: int,
        bottleneck_filters: int | None = None,
        kernel_size: int = 3,
        strides: int = 2,
        *,
        activation: Any = "leaky_relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = positive("filters", filters)
        self.bottleneck_filters = positive(
            "bottleneck_filters",
            max(1, filters // 2) if bottleneck_filters is None else bottleneck_filters,
        )
        self.kernel_size = positive("kernel_size", kernel_size)
        if strides not in (1, 2):
            raise ValueError(f"strides must be 1 or 2. Received: strides={strides}")
        self.strides = strides
        self.activation = keras.activations.get(activation)
        plain = {"padding": "same", "use_bias": False, "data_format": "channels_last"}
        full = {**plain, "kernel_initializer": "he_normal"}
        narrow = {**plain, "depthwise_initializer": he_depthwise((1, kernel_size))}
        self.pointwise = self.sublayer(
            layers.Conv2D, self.bottleneck_filters, 1, name="pointwise", **full
        )
        self.row = self.sublayer(layers.DepthwiseConv2D, (1, kernel_size), name="row", **narrow)
        self.pool = None
        if strides == 2:
            self.pool = self.sublayer(layers.MaxPooling2D, (1, 2), data_format="channels_last")
        self.column = self.sublayer(
            layers.DepthwiseConv2D, (kernel_size, 1), name="column", **narrow
        )
        self.last = self.sublayer(
            layers.Conv2D, filters, (2, 1), strides=(strides, 1), name="last", **full
        )
        for name in ("pointwise", "row", "column", "last"):
            bn = self.sublayer(layers.BatchNormalization, name=f"{name}_bn")
            setattr(self, f"{name}_bn", bn)
            setattr(self, f"{name}_act", self.activation_layer(activation))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for (batch, height, width, channels)."""
        inner = (*input_shape[:-1], self.bottleneck_filters)
        pooled = self.pool.compute_output_shape(inner) if self.pool else inner
        for name, shape, after in (
            ("pointwise", input_shape, inner),
            ("row", inner, inner),
            ("column", pooled, pooled),
            ("last", pooled, self.last.compute_output_shape(pooled)),
        ):
            getattr(self, name).build(shape)
            getattr(self, f"{name}_bn").build(after)
        self.built = True

    def forward(self, parts: Any, inputs: Any, training: bool | None) -> Any:
        """Applies pointwise, row, pool, column, last; each convolution with BN and activation."""
        x = inputs
        for name in ("pointwise", "row", "column", "last"):
            if name == "column" and parts.pool:
                x = parts.pool(x)
            x = getattr(parts, name)(x)
            x = getattr(parts, f"{name}_bn")(x, training=training)
            activate = getattr(parts, f"{name}_act")
            x = activate(x) if activate else x
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, new_height, new_width, filters)."""
        inner = (*input_shape[:-1], self.bottleneck_filters)
        pooled = self.pool.compute_output_shape(inner) if self.pool else inner
        return self.last.compute_output_shape(pooled)

    def macs(
        self, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]
    ) -> int:
        """Counts multiply-accumulates for one image, without batch normalisation's."""
        height, width = input_shape[1] or 1, input_shape[2] or 1
        pooled = height * (width // 2 if self.strides == 2 else width)
        at_full = height * width * ((input_shape[-1] or 1) + self.kernel_size)
        at_end = positions(output_shape) * 2 * self.filters
        return self.bottleneck_filters * (at_full + pooled * self.kernel_size + at_end)

    def channel_rules(self) -> ChannelRules:
        """Says where the weights hold the bottleneck's channels and the filters."""
        inner = "bottleneck_filters"
        made = {"pointwise_bn": inner, "row_bn": inner, "column_bn": inner, "last_bn": "filters"}
        return ChannelRules(
            weights={
                "pointwise.kernel": (None, None, TAKEN, inner),
                "row.kernel": (None, None, inner, None),
                "column.kernel": (None, None, inner, None),
                "last.kernel": (None, None, inner, "filters"),
                **of_norms(made),
            },
            outputs=("filters",),
            sizes={inner: inner, "filters": "filters"},
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "bottleneck_filters": self.bottleneck_filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "activation": keras.activations.serialize(self.activation),
        }
