"""SqueezeNet's fire module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers

from tfcompress.layers.arguments import positions, positive
from tfcompress.layers.channel_rules import TAKEN, ChannelRules
from tfcompress.layers.composite import Composite


def fire_parts(
    squeeze: int,
    expand1x1: int,
    expand3x3: int,
    make: Callable[..., layers.Layer],
    prefix: str = "",
) -> dict[str, layers.Layer]:
    """Makes the three convolutions and the concatenation of a fire module.

    Args:
        squeeze: filters of the squeeze convolution.
        expand1x1: filters of the 1x1 expand convolution.
        expand3x3: filters of the 3x3 expand convolution.
        make: called as `make(kind, *args, **kwargs)` for each, with a class of `keras.layers` and
            its arguments.
        prefix: what the layers' names begin with.

    Returns:
        `squeeze1x1`, `expand1x1`, `expand3x3` and `concat`, as `fire` takes them.
    """

    def conv(name: str, filters: int, **options: Any) -> layers.Layer:
        return make(layers.Conv2D, filters, activation="relu", name=f"{prefix}{name}", **options)

    return {
        "squeeze1x1": conv("squeeze1x1", squeeze, kernel_size=1),
        "expand1x1": conv("expand1x1", expand1x1, kernel_size=1),
        "expand3x3": conv("expand3x3", expand3x3, kernel_size=3, padding="same"),
        "concat": make(layers.Concatenate, name=f"{prefix}concat"),
    }


def fire(x: Any, parts: Mapping[str, Any]) -> Any:
    """Applies a fire module's parts: squeeze, both expansions of that, their concatenation."""
    x = parts["squeeze1x1"](x)
    return parts["concat"]([parts["expand1x1"](x), parts["expand3x3"](x)])


@keras.saving.register_keras_serializable("tfcompress")
class Fire(Composite):
    """Convolves 1x1 to few channels, then 1x1 and 3x3 side by side.

    ```
    squeeze   s = relu(conv1x1(x))                                       S filters
    expand    y = concat(relu(conv1x1(s)), relu(conv3x3(s)))             E1 and E3 filters
    weights   C*S + S*E1 + 9*S*E3, and S + E1 + E3 biases, for C input channels
    MACs      positions * (C*S + S*E1 + 9*S*E3)
    ```

    Args:
        squeeze_filters: S; below `expand1x1_filters + expand3x3_filters` to save anything.
        expand1x1_filters: E1.
        expand3x3_filters: E3; E1 by default, as in the paper.
        kernel_initializer: of all three convolutions.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, height, width, expand1x1_filters + expand3x3_filters)`.

    Example:
    >>> import keras
    >>> Fire(16, 64)(keras.ops.ones((1, 8, 8, 96))).shape == (1, 8, 8, 128)
    True

    Raises:
        ValueError: a number of filters isn't a whole number of 1 or more.

    Reference:
        Iandola et al. 2016, "SqueezeNet", arXiv:1602.07360, section 3.2.
    """

    parts = ("squeeze1x1", "expand1x1", "expand3x3", "concat")

    def __init__(
        self,
        squeeze_filters: int,
        expand1x1_filters: int,
        expand3x3_filters: int | None = None,
        *,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.squeeze_filters = positive("squeeze_filters", squeeze_filters)
        self.expand1x1_filters = positive("expand1x1_filters", expand1x1_filters)
        self.expand3x3_filters = positive(
            "expand3x3_filters",
            expand1x1_filters if expand3x3_filters is None else expand3x3_filters,
        )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        parts = fire_parts(
            self.squeeze_filters, self.expand1x1_filters, self.expand3x3_filters, self._part
        )
        for name, part in parts.items():
            setattr(self, name, part)

    def _part(self, kind: type[layers.Layer], *args: Any, **kwargs: Any) -> layers.Layer:
        """Makes a part of this layer's precision; a convolution gets the layer's initializer."""
        if kind is layers.Conv2D:
            # Each has a copy: an initialiser with a seed gives the same values at each call.
            kwargs["kernel_initializer"] = self.kernel_initializer.clone()
            # For 1x1 either padding computes the same; files of this layer have "same".
            kwargs.update(padding="same", data_format="channels_last")
        return self.sublayer(kind, *args, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for (batch, height, width, channels)."""
        squeezed = (*input_shape[:-1], self.squeeze_filters)
        self.squeeze1x1.build(input_shape)
        self.expand1x1.build(squeezed)
        self.expand3x3.build(squeezed)
        self.built = True

    def forward(self, parts: Any, inputs: Any, training: bool | None) -> Any:
        """Applies squeeze, both expansions, concatenation."""
        return fire(inputs, {name: getattr(parts, name) for name in self.parts})

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, height, width, filters of both expansions)."""
        return (*input_shape[:-1], self.expand1x1_filters + self.expand3x3_filters)

    def macs(
        self, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]
    ) -> int:
        """Counts multiply-accumulates for one image."""
        expand = self.expand1x1_filters + 9 * self.expand3x3_filters
        return positions(output_shape) * self.squeeze_filters * ((input_shape[-1] or 1) + expand)

    def channel_rules(self) -> ChannelRules:
        """Says where the weights hold the channels of each of the three convolutions."""
        squeeze, one, three = "squeeze_filters", "expand1x1_filters", "expand3x3_filters"
        return ChannelRules(
            weights={
                "squeeze1x1.kernel": (None, None, TAKEN, squeeze),
                "squeeze1x1.bias": (squeeze,),
                "expand1x1.kernel": (None, None, squeeze, one),
                "expand1x1.bias": (one,),
                "expand3x3.kernel": (None, None, squeeze, three),
                "expand3x3.bias": (three,),
            },
            outputs=(one, three),
            sizes={squeeze: squeeze, one: one, three: three},
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "squeeze_filters": self.squeeze_filters,
            "expand1x1_filters": self.expand1x1_filters,
            "expand3x3_filters": self.expand3x3_filters,
            "kernel_initializer": keras.saving.serialize_keras_object(self.kernel_initializer),
        }
