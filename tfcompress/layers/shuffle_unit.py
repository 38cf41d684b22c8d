"""ShuffleNet's unit: grouped 1x1 convolutions with a channel shuffle between them."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfcompress.layers.arguments import positions, positive
from tfcompress.layers.channel_shuffle import channel_shuffle
from tfcompress.layers.composite import Composite, he_depthwise


@keras.saving.register_keras_serializable("tfcompress")
class ShuffleUnit(Composite):
    """Adds a bottleneck of grouped 1x1 convolutions to a shortcut, or puts the two side by side.

    ```
    r = relu(BN(conv1x1(x; groups)))                     B = filters / 4 channels
    s = BN(depthwise3x3(shuffle(r, groups); strides))
    e = BN(conv1x1(s; groups))
    strides 1   y = relu(x + e)                          e has filters channels, as x has
    strides 2   y = relu(concat(avgpool3x3(x), e))       e has filters - C channels
    weights     C*B/groups + 9*B + B*E/groups            E = channels of e; C of x
    ```

    Without `group_first` the first of the three terms is C*B.

    **On GPUs**, the runtime's grouped convolutions are wrong, without any message, where the
    channels of a group aren't a multiple of 4. Choose `filters` so that `filters / 4 / groups`
    and the channels of a group of the input are, or run the file on the CPU only.

    Args:
        filters: channels of the output; with strides 1, also of the input.
        groups: of both 1x1 convolutions.
        strides: 1, or 2 to halve height and width.
        group_first: whether the first 1x1 convolution is grouped; not so in the paper's first
            unit, whose input has few channels.
        bottleneck_filters: B; a quarter of `filters` by default, as in the paper.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Example:
    >>> import keras
    >>> x = keras.ops.ones((1, 8, 8, 48))
    >>> ShuffleUnit(48)(x).shape == (1, 8, 8, 48), ShuffleUnit(96, strides=2)(x).shape[-1]
    (True, 96)

    Raises:
        ValueError: strides other than 1 or 2; filters that aren't a multiple of 4 * groups, or with
            `bottleneck_filters`, one of both that isn't a multiple of groups; or input channels
            that don't fit: not a multiple of `groups`, not `filters` (strides 1) or not fewer
            (strides 2).

    Reference:
        Zhang et al. 2017, "ShuffleNet", arXiv:1707.01083, section 3.2 and figure 2.
    """

    parts = (
        "reduce",
        "reduce_bn",
        "relu",
        "depthwise",
        "depthwise_bn",
        "expand",
        "expand_bn",
        "shortcut",
        "join",
        "last_relu",
    )

    def __init__(
        self,
        filters: int,
        groups: int = 3,
        strides: int = 1,
        *,
        group_first: bool = True,
        bottleneck_filters: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = positive("filters", filters)
        self.groups = positive("groups", groups)
        if strides not in (1, 2):
            raise ValueError(f"strides must be 1 or 2. Received: strides={strides}")
        if bottleneck_filters is not None:
            positive("bottleneck_filters", bottleneck_filters)
            if filters % groups or bottleneck_filters % groups:
                raise ValueError(
                    "filters and bottleneck_filters must be multiples of groups. Received: "
                    f"filters={filters}, bottleneck_filters={bottleneck_filters}, groups={groups}"
                )
        elif filters % (4 * groups):
            raise ValueError(
                "filters must be a multiple of 4 * groups: the bottleneck has a quarter of them. "
                f"Received: filters={filters}, groups={groups}"
            )
        self.strides = strides
        self.group_first = group_first
        self.bottleneck_filters = bottleneck_filters
        self.bottleneck = filters // 4 if bottleneck_filters is None else bottleneck_filters
        self.reduce = self._conv1x1(self.bottleneck, groups if group_first else 1, "reduce")
        self.reduce_bn = self.sublayer(layers.BatchNormalization, name="reduce_bn")
        self.relu = self.sublayer(layers.ReLU)
        self.depthwise = self.sublayer(
            layers.DepthwiseConv2D,
            3,
            strides=strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=he_depthwise((3, 3)),
            data_format="channels_last",
            name="depthwise",
        )
        # No activation follows, so that the next batch normalisation takes an offset away.
        self.depthwise_bn = self.sublayer(
            layers.BatchNormalization, center=False, name="depthwise_bn"
        )
        self.expand: layers.Layer | None = None  # Made for the input's channels.
        self.expand_bn = self.sublayer(layers.BatchNormalization, name="expand_bn")
        self.shortcut = None
        self.join = self.sublayer(layers.Add if strides == 1 else layers.Concatenate)
        if strides == 2:
            self.shortcut = self.sublayer(
                layers.AveragePooling2D, 3, 2, padding="same", data_format="channels_last"
            )
        self.last_relu = self.sublayer(layers.ReLU)

    def _conv1x1(self, filters: int, groups: int, name: str) -> layers.Layer:
        return self.sublayer(
            layers.Conv2D,
            filters,
            1,
            groups=groups,
            use_bias=False,
            kernel_initializer="he_normal",
            data_format="channels_last",
            name=name,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for (batch, height, width, channels)."""
        channels = input_shape[-1] or 0
        fits = channels == self.filters if self.strides == 1 else 0 < channels < self.filters
        if not fits or channels % self.groups:
            wanted = f"{self.filters}" if self.strides == 1 else f"fewer than {self.filters}"
            raise ValueError(
                f"ShuffleUnit with strides {self.strides} takes {wanted} channels, a multiple of "
                f"groups={self.groups}. Received: input shape {tuple(input_shape)}"
            )
        expanded = self.filters if self.strides == 1 else self.filters - channels
        self.expand = self._conv1x1(expanded, self.groups, "expand")
        reduced = (*input_shape[:-1], self.bottleneck)
        inner = self.depthwise.compute_output_shape(reduced)
        self.reduce.build(input_shape)
        self.reduce_bn.build(reduced)
        self.depthwise.build(reduced)
        self.depthwise_bn.build(inner)
        self.expand.build(inner)
        self.expand_bn.build((*inner[:-1], expanded))
        self.built = True

    def forward(self, parts: Any, inputs: Any, training: bool | None) -> Any:
        """Applies the residual branch beside the shortcut."""
        x = parts.relu(parts.reduce_bn(parts.reduce(inputs), training=training))
        x = channel_shuffle(x, self.groups)
        x = parts.depthwise_bn(parts.depthwise(x), training=training)
        x = parts.expand_bn(parts.expand(x), training=training)
        beside = parts.shortcut(inputs) if parts.shortcut else inputs
        return parts.last_relu(parts.join([beside, x]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, new_height, new_width, filters)."""
        return (*self.depthwise.compute_output_shape(input_shape)[:-1], self.filters)

    def macs(
        self, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]
    ) -> int:
        """Counts multiply-accumulates for one image, without those of BN and pooling."""
        channels = input_shape[-1] or 1
        first = channels // self.groups if self.group_first else channels
        expanded = self.filters if self.strides == 1 else self.filters - channels
        later = 9 + expanded // self.groups
        return self.bottleneck * (positions(input_shape) * first + positions(output_shape) * later)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "groups": self.groups,
            "strides": self.strides,
            "group_first": self.group_first,
            "bottleneck_filters": self.bottleneck_filters,
        }
