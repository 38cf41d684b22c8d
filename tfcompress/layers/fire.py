"""SqueezeNet's fire module."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfcompress.layers.arguments import positions, positive
from tfcompress.layers.composite import Composite


@keras.saving.register_keras_serializable("tfcompress")
class Fire(Composite):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side.

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
        ValueError: a number of filters below 1.

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
        self.squeeze1x1 = self._conv(self.squeeze_filters, 1, "squeeze1x1")
        self.expand1x1 = self._conv(self.expand1x1_filters, 1, "expand1x1")
        self.expand3x3 = self._conv(self.expand3x3_filters, 3, "expand3x3")
        self.concat = self.sublayer(layers.Concatenate)

    def _conv(self, filters: int, kernel_size: int, name: str) -> layers.Layer:
        return self.sublayer(
            layers.Conv2D,
            filters,
            kernel_size,
            padding="same",
            activation="relu",
            # Each has a copy: an initialiser with a seed gives the same values at each call.
            kernel_initializer=self.kernel_initializer.clone(),
            data_format="channels_last",
            name=name,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for (batch, height, width, channels)."""
        squeezed = (*input_shape[:-1], self.squeeze_filters)
        self.squeeze1x1.build(input_shape)
        self.expand1x1.build(squeezed)
        self.expand3x3.build(squeezed)
        self.built = True

    def forward(self, parts: Any, inputs: Any, training: bool | None) -> Any:
        """Squeeze, both expansions, concatenation."""
        x = parts.squeeze1x1(inputs)
        return parts.concat([parts.expand1x1(x), parts.expand3x3(x)])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, height, width, filters of both expansions)."""
        return (*input_shape[:-1], self.expand1x1_filters + self.expand3x3_filters)

    def macs(
        self, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]
    ) -> int:
        """Multiply-accumulates for one image."""
        expand = self.expand1x1_filters + 9 * self.expand3x3_filters
        return positions(output_shape) * self.squeeze_filters * ((input_shape[-1] or 1) + expand)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "squeeze_filters": self.squeeze_filters,
            "expand1x1_filters": self.expand1x1_filters,
            "expand3x3_filters": self.expand3x3_filters,
            "kernel_initializer": keras.saving.serialize_keras_object(self.kernel_initializer),
        }
