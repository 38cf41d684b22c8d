"""2D convolution with binary weights, inputs of one or two bits, or both."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._binary import BinaryWeights
from tfcompress.layers.channel_rules import ChannelRules, of_signs
from tfcompress.ops.padding import same_pads


@keras.saving.register_keras_serializable("tfcompress")
class BinaryConv2D(BinaryWeights, keras.layers.Conv2D):
    """Convolves signs with scaled signs: `y = conv(sign(x), alpha * sign(W)) + b`.

    ```
    inputs    x~ = sign(x)                dL/dx = dL/dx~ * [|x| <= clip_value]
    weights   W~ = alpha * sign(W)        dL/dW = dL/dW~ * (1/n + alpha * [|W| <= clip_value])
    scale     alpha = mean |W| of each filter's n weights
    ```

    with `sign(0) = +1`. Training changes the latent weights W, and a `.keras` file holds them. This
    layer computes in floats; `tfcompress.export` writes files with bits or bytes for weights.

    With `input_bits=2` the inputs have four levels instead, of which a step s is trained:

    ```
    inputs    x~ = s * ([x >= s/2] + [x >= 3s/2] + [x >= 5s/2])
              dL/dx = dL/dx~ * [0 <= x <= 3s];  dL/ds as LSQ has it
    ```

    Such an input is two bits, and a product two products of bits.

    It departs from the paper in two points: the activation scale K of section 3.2 isn't applied,
    and signs are padded with +1, not 0, so that a padded pixel is a bit as well. Levels are padded
    with 0.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, groups, activation, use_bias,
            kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, bias_constraint: as in `keras.layers.Conv2D`.
        data_format: `"channels_last"` or None.
        kernel_constraint: as in `keras.layers.Conv2D`; None for `ClipWeights(clip_value)`.
        binarize_inputs: whether the inputs are binarised (XNOR-Net; else BWN); True by default.
        binarize_kernel: whether the weights are binarised; True by default.
        clip_value: where the straight-through gradients stop; 1.0 by default.
        input_bits: of binarised inputs: 1 for signs, by default, or 2 for the levels 0 to 3 times
            a trained step.
        shift_scale: whether alpha is the power of two next to the mean, and the gradient
            `dL/dW~ * alpha * [|W| <= clip_value]`; False by default.

    Input shape:
        `(batch, height, width, channels)`. Of signs with `padding="same"` and strides above 1,
        height and width must be static.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = BinaryConv2D(4, 3, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 2))).shape == (1, 8, 8, 4)
    True

    Raises:
        ValueError: neither inputs nor weights are to be binarised, `clip_value` isn't positive,
            `input_bits` isn't 1 or 2, or `data_format` is `"channels_first"`.

    Reference:
        Rastegari, Ordonez, Redmon, Farhadi 2016, "XNOR-Net", arXiv:1603.05279, section 3.
        Levels: Esser et al. 2020, "Learned Step Size Quantization", arXiv:1902.08153, section 2;
        behind a batch normalisation: Cai et al. 2017, arXiv:1702.00953.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, int] = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        binarize_inputs: bool = True,
        binarize_kernel: bool = True,
        clip_value: float = 1.0,
        input_bits: int = 1,
        shift_scale: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            groups,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            binarize_inputs=binarize_inputs,
            binarize_kernel=binarize_kernel,
            clip_value=clip_value,
            input_bits=input_bits,
            shift_scale=shift_scale,
            **kwargs,
        )

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves signs, where `keras.layers.Conv2D` convolves its inputs."""
        return ops.conv(
            self._binary_inputs(inputs),
            self._binary_kernel(kernel),
            strides=self.strides,
            padding=self._convolution_padding(),
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output shape of a `Conv2D`; refuses sizes that can't be padded with +1."""
        output_shape = super().compute_output_shape(input_shape)
        if self.takes_signs and self.padding == "same":
            self._same_pads(input_shape)
        return output_shape

    def _padded(self, signs: Any) -> Any:
        """Returns images of signs with +1 around them."""
        pads = self._same_pads(signs.shape) if self.padding == "same" else []
        if not any(sum(pad) for pad in pads):
            return signs
        return ops.pad(signs, [(0, 0), *pads, (0, 0)], constant_values=1.0)

    def _convolution_padding(self) -> str:
        """Returns the padding that the convolution does: signs are padded before it."""
        return "valid" if self.takes_signs else self.padding

    def channel_rules(self) -> ChannelRules:
        """Says that the kernel's last axis holds the filters; what it takes can't be cut."""
        return of_signs("filters")

    def _built_in_layer(self, use_bias: bool) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            strides=self.strides,
            padding=self._convolution_padding(),
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            activation=self.activation,
            use_bias=use_bias,
            name=self.name,
        )

    def _same_pads(self, shape: tuple[int | None, ...]) -> list[tuple[int, int]]:
        """Returns how many pixels `padding="same"` adds before and behind height and width."""
        pads = []
        for size, kernel, stride, dilation in zip(
            shape[1:3], self.kernel_size, self.strides, self.dilation_rate, strict=True
        ):
            if size is None and stride > 1:
                raise ValueError(
                    "BinaryConv2D with padding='same' and strides above 1 needs a static height "
                    f"and width. Received: input shape {tuple(shape)}"
                )
            # With a stride of 1 any size has the same pads.
            pads.append(same_pads(size or kernel, kernel, stride, dilation))
        return pads
