"""2D convolution with binary weights, binary inputs, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.layers.clip_weights import ClipWeights
from tfcompress.ops import binarize


@keras.saving.register_keras_serializable("tfcompress")
class BinaryConv2D(keras.layers.Conv2D):
    """Convolution of signs: `y = conv(sign(x), alpha * sign(W)) + b`.

    ```
    inputs    x~ = sign(x)                dL/dx = dL/dx~ * [|x| <= clip_value]
    weights   W~ = alpha * sign(W)        dL/dW = dL/dW~ * (1/n + alpha * [|W| <= clip_value])
    scale     alpha = mean |W| of each filter's n weights
    ```

    with `sign(0) = +1`. The latent weights W are what is trained and saved; training costs about
    as much as the plain layer's. This layer computes in floats: a file with bits or bytes for
    weights comes from `tfcompress.export`.

    Departures from the paper: the activation scale K of its section 3.2 isn't applied, and binary
    inputs are padded with +1, not 0, so that a padded pixel is a bit as well.

    Args:
        filters, kernel_size, strides, padding, dilation_rate, groups, activation, use_bias,
            kernel_initializer and further arguments: as in `keras.layers.Conv2D`.
        binarize_inputs: whether the inputs are binarised (XNOR-Net; else BWN).
        binarize_kernel: whether the weights are binarised.
        clip_value: where the straight-through gradients stop; the latent weights are clipped to
            it, too, unless another `kernel_constraint` is given.

    Input shape:
        `(batch, height, width, channels)`. With `binarize_inputs`, `padding="same"` and strides
        above 1, height and width must be static.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = BinaryConv2D(4, 3, padding="same")
    >>> layer(keras.ops.ones((1, 8, 8, 2))).shape == (1, 8, 8, 4)
    True

    Raises:
        ValueError: neither inputs nor weights are to be binarised, `clip_value` isn't positive,
            or `data_format` is `"channels_first"`.

    Reference:
        Rastegari, Ordonez, Redmon, Farhadi 2016, "XNOR-Net", arXiv:1603.05279, section 3.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        *args: Any,
        binarize_inputs: bool = True,
        binarize_kernel: bool = True,
        clip_value: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if not (binarize_inputs or binarize_kernel):
            raise ValueError(
                "A binary layer binarises its inputs, its kernel, or both. Received: "
                "binarize_inputs=False, binarize_kernel=False"
            )
        if binarize_kernel and kwargs.get("kernel_constraint") is None:
            kwargs["kernel_constraint"] = ClipWeights(clip_value)
        super().__init__(filters, kernel_size, *args, **kwargs)
        if self.data_format != "channels_last":
            raise ValueError(
                "BinaryConv2D takes channels_last images. Received: "
                f"data_format={self.data_format!r}"
            )
        if not clip_value > 0:
            raise ValueError(f"clip_value must be positive. Received: clip_value={clip_value}")
        self.binarize_inputs = binarize_inputs
        self.binarize_kernel = binarize_kernel
        self.clip_value = float(clip_value)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """`keras.layers.Conv2D`'s convolution, of signs."""
        padding = self.padding
        if self.binarize_inputs:
            inputs = binarize.ste_sign(inputs, self.clip_value)
            if padding == "same":
                inputs = _pad(inputs, self._same_pads(inputs.shape), 1.0)
                padding = "valid"
        if self.binarize_kernel:
            kernel = binarize.binary_kernel(kernel, self.clip_value)
        return ops.conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As of `keras.layers.Conv2D`; refuses sizes that can't be padded with +1."""
        output_shape = super().compute_output_shape(input_shape)
        if self.binarize_inputs and self.padding == "same":
            self._same_pads(input_shape)
        return output_shape

    def logical_kernel(self) -> Any:
        """The kernel that the convolution multiplies with: (height, width, channels, filters)."""
        return binarize.binary_values(self.kernel) if self.binarize_kernel else self.kernel

    def lower(self, activations: str = "signed") -> Callable[[Any], Any]:
        """The same function in stock Keras layers.

        Args:
            activations: how the binary inputs are written: `"signed"` as -1 and +1, or `"unit"`
                as 0 and 1 (with doubled weights and a corrected bias), which 8-bit arithmetic
                holds without error.

        Returns:
            A function of a Keras tensor, which applies `keras.ops` and one stock `Conv2D`. The
            layer in it is made once: two calls share their weights.
        """
        kernel = ops.convert_to_numpy(self.logical_kernel())
        bias = ops.convert_to_numpy(self.bias) if self.use_bias else None
        if self.binarize_inputs:
            kernel, bias = binarize.unit_weights(kernel, bias, activations)
        conv = keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            strides=self.strides,
            padding="valid" if self.binarize_inputs else self.padding,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            activation=self.activation,
            use_bias=bias is not None,
            name=self.name,
        )

        def apply(x: Any) -> Any:
            if self.binarize_inputs:
                x = binarize.bits(x, activations)
                if self.padding == "same":
                    x = _pad(x, self._same_pads(x.shape), 1.0)
            if not conv.built:
                conv.build(x.shape)
                conv.set_weights([kernel] if bias is None else [kernel, bias])
            return conv(x)

        return apply

    def _same_pads(self, shape: tuple[int | None, ...]) -> list[tuple[int, int]]:
        """What `padding="same"` adds before and after height and width."""
        pads = []
        for size, kernel, stride, dilation in zip(
            shape[1:3], self.kernel_size, self.strides, self.dilation_rate, strict=True
        ):
            reach = (kernel - 1) * dilation + 1
            if stride == 1:
                total = reach - 1
            elif size is None:
                raise ValueError(
                    "BinaryConv2D with padding='same' and strides above 1 needs a static height "
                    f"and width. Received: input shape {tuple(shape)}"
                )
            else:
                total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            pads.append((total // 2, total - total // 2))
        return pads

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "binarize_inputs": self.binarize_inputs,
            "binarize_kernel": self.binarize_kernel,
            "clip_value": self.clip_value,
        }


def _pad(x: Any, pads: list[tuple[int, int]], value: float) -> Any:
    """Pads height and width of (batch, height, width, channels)."""
    if not any(sum(pad) for pad in pads):
        return x
    return ops.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)
