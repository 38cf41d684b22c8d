"""Depthwise separable convolution: each channel by itself, then 1x1 across the channels."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfcompress.layers.arguments import pair, positions, positive, sliding_window
from tfcompress.layers.channel_rules import TAKEN, ChannelRules, of_norms
from tfcompress.layers.composite import Composite, he_depthwise


@keras.saving.register_keras_serializable("tfcompress")
class DepthwiseSeparable(Composite):
    """Convolves each channel by itself, then 1x1 across channels, each with BN and ReLU.

    ```
    depthwise   u[c,j] = sum over the window of D[.,.,c,j] * x[c],    j < depth_multiplier
    inner       v = depthwise_activation(BN(u))
    pointwise   y = activation(BN(sum over c, j of P[c,j,.] * v[c,j]))
    MACs        positions * M * (d^2 + N)      against d^2 * C * N of a full convolution
    ```

    for kernels of d x d, C channels, M = C * depth_multiplier and N filters: 1/N + 1/d^2 of the
    full convolution's. Gradients are those of the built-in layers. An exported file holds two
    convolutions: batch normalisation and ReLU are folded into them.

    A depthwise convolution does little arithmetic for each value that it loads, so the time falls
    less than the MACs do.

    Args:
        filters: channels of the output, N.
        kernel_size: height and width of the depthwise kernels, d.
        strides: of the depthwise convolution; height's and width's must be equal, since
            TensorFlow has no other depthwise convolution.
        padding: `"same"` or `"valid"`, of the depthwise convolution.
        depth_multiplier: depthwise kernels for each channel.
        dilation_rate: of the depthwise convolution; above 1 only with strides of 1.
        activation: behind the pointwise part; None for none.
        depthwise_activation: between the parts; None makes them one linear function, as a
            factorised kernel needs it (the batch normalisation before it then has no beta).
        use_bias: whether both convolutions have biases. Batch normalisation cancels them, hence
            none by default; published parameter counts may include them.
        momentum, epsilon: of both batch normalisations.
        depthwise_initializer: None for He et al.'s, with the taps of a depthwise kernel as fan.
        pointwise_initializer, depthwise_regularizer, pointwise_regularizer: as in
            `keras.layers.SeparableConv2D`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = DepthwiseSeparable(64)
    >>> layer(keras.ops.ones((1, 32, 32, 64))).shape == (1, 32, 32, 64)
    True
    >>> layer.depthwise.count_params() + layer.pointwise.count_params()  # 9*64 + 64*64
    4672

    Raises:
        ValueError: a size below 1, unequal strides, strides together with dilation, or another
            padding.

    Reference:
        Howard et al. 2017, "MobileNets", arXiv:1704.04861, section 3.1 and figure 3.
    """

    parts = (
        "depthwise",
        "depthwise_bn",
        "depthwise_act",
        "pointwise",
        "pointwise_bn",
        "pointwise_act",
    )

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 3,
        strides: int | tuple[int, int] = 1,
        padding: str = "same",
        depth_multiplier: int = 1,
        *,
        dilation_rate: int | tuple[int, int] = 1,
        activation: Any = "relu",
        depthwise_activation: Any = "relu",
        use_bias: bool = False,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        depthwise_initializer: Any = None,
        pointwise_initializer: Any = "he_normal",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = positive("filters", filters)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides, self.padding, self.dilation_rate = sliding_window(
            strides, padding, dilation_rate, one_stride_for="DepthwiseSeparable"
        )
        self.depth_multiplier = positive("depth_multiplier", depth_multiplier)
        self.activation = keras.activations.get(activation)
        self.depthwise_activation = keras.activations.get(depthwise_activation)
        self.use_bias = use_bias
        self.momentum = momentum
        self.epsilon = epsilon
        self._make_depthwise(depthwise_initializer, depthwise_regularizer)
        self._make_pointwise(pointwise_initializer, pointwise_regularizer)

    def _make_depthwise(self, initializer: Any, regularizer: Any) -> None:
        """Makes the depthwise convolution, its batch normalisation and activation."""
        self.depthwise = self.sublayer(
            layers.DepthwiseConv2D,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            depth_multiplier=self.depth_multiplier,
            dilation_rate=self.dilation_rate,
            use_bias=self.use_bias,
            depthwise_initializer=initializer or he_depthwise(self.kernel_size),
            depthwise_regularizer=regularizer,
            data_format="channels_last",
            name="depthwise",
        )
        self.depthwise_act = self.activation_layer(self.depthwise_activation)
        self.depthwise_bn = self.sublayer(
            layers.BatchNormalization,
            # Without an activation behind it, the next batch normalisation takes an offset away.
            center=self.depthwise_act is not None,
            momentum=self.momentum,
            epsilon=self.epsilon,
            name="depthwise_bn",
        )

    def _make_pointwise(self, initializer: Any, regularizer: Any) -> None:
        """Makes the 1x1 convolution, its batch normalisation and activation."""
        self.pointwise = self.sublayer(
            layers.Conv2D,
            self.filters,
            1,
            use_bias=self.use_bias,
            kernel_initializer=initializer,
            kernel_regularizer=regularizer,
            data_format="channels_last",
            name="pointwise",
        )
        self.pointwise_bn = self.sublayer(
            layers.BatchNormalization,
            momentum=self.momentum,
            epsilon=self.epsilon,
            name="pointwise_bn",
        )
        self.pointwise_act = self.activation_layer(self.activation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for (batch, height, width, channels)."""
        inner = self.depthwise.compute_output_shape(input_shape)
        outer = (*inner[:-1], self.filters)
        self.depthwise.build(input_shape)
        self.depthwise_bn.build(inner)
        self.pointwise.build(inner)
        self.pointwise_bn.build(outer)
        self.built = True

    def forward(self, parts: Any, inputs: Any, training: bool | None) -> Any:
        """Applies depthwise, BN, activation, pointwise, BN, activation."""
        x = parts.depthwise(inputs)
        x = parts.depthwise_bn(x, training=training)
        if parts.depthwise_act:
            x = parts.depthwise_act(x)
        x = parts.pointwise(x)
        x = parts.pointwise_bn(x, training=training)
        return parts.pointwise_act(x) if parts.pointwise_act else x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns (batch, new_height, new_width, filters)."""
        return (*self.depthwise.compute_output_shape(input_shape)[:-1], self.filters)

    def macs(
        self, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]
    ) -> int:
        """Counts multiply-accumulates for one image, without batch normalisation's."""
        inner = (input_shape[-1] or 1) * self.depth_multiplier
        taps = self.kernel_size[0] * self.kernel_size[1]
        return positions(output_shape) * inner * (taps + self.filters)

    def channel_rules(self) -> ChannelRules:
        """Says where the weights hold the channels taken and the filters."""
        return ChannelRules(
            weights={
                "depthwise.kernel": (None, None, TAKEN, None),
                "depthwise.bias": (TAKEN,),
                "pointwise.kernel": (None, None, TAKEN, "filters"),
                "pointwise.bias": ("filters",),
                **of_norms({"depthwise_bn": TAKEN, "pointwise_bn": "filters"}),
            },
            outputs=("filters",),
            sizes={"filters": "filters"},
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        serialise = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "depth_multiplier": self.depth_multiplier,
            "dilation_rate": self.dilation_rate,
            "activation": keras.activations.serialize(self.activation),
            "depthwise_activation": keras.activations.serialize(self.depthwise_activation),
            "use_bias": self.use_bias,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "depthwise_initializer": serialise(self.depthwise.depthwise_initializer),
            "pointwise_initializer": serialise(self.pointwise.kernel_initializer),
            "depthwise_regularizer": serialise(self.depthwise.depthwise_regularizer),
            "pointwise_regularizer": serialise(self.pointwise.kernel_regularizer),
        }
