"""2D convolution whose kernel is made of the blocks of a codebook."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.layers._codebook import CodebookWeights


@keras.saving.register_keras_serializable("tfcompress")
class CodebookConv2D(CodebookWeights, keras.layers.Conv2D):
    """Convolves with a kernel V that is looked up block by block: `y = conv(x, V) + b`.

    ```
    forward   V[:, :, g * c : (g + 1) * c, f] = B[code[g, f]]      g: groups of c input channels
    gradient  dL/dB[k] = mean of dL/dV[:, :, g * c : (g + 1) * c, f] over code[g, f] = k
    ```

    A block is the whole window over c input channels: 9 weights of a 3x3 kernel for c = 1. The
    blocks B are trained; the codes are chosen once, by `project`, and stay. Before, they count up
    from 0. The layer computes with B rounded to 13 bits (`ops.codebooks.on_steps`), with the
    straight-through gradient, so that a `.tflite` file of the storage `pq` holds just that: codes,
    2 bytes for each value of B, and no kernel. This saves space, not time: the file makes V as it
    is loaded.

    It departs from the paper in the rounding of B, and in that a layer of few blocks has fewer than
    `centroids` of them only by the paper's rule: a quarter of the kernel's blocks.

    Args:
        filters, kernel_size: as in `keras.layers.Conv2D`.
        centroids: blocks of the codebook, 2 to 2048; at most a quarter of the kernel's blocks. 181,
            the default, is the most of which a file holds two codes in 16 bits.
        block_channels: input channels c of a block, 1 by default; where they don't divide the
            input's channels, the most below that do.
        strides, padding, dilation_rate, activation, use_bias, bias_initializer,
            kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint: as in `keras.layers.Conv2D`; the kernel's act on the codebook.
        kernel_initializer: as in `keras.layers.Conv2D`; called with the shape of V, of which the
            first values are taken.
        data_format: `"channels_last"` or None.
        groups: 1.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = CodebookConv2D(64, 3, centroids=32, padding="same", use_bias=False)
    >>> layer(keras.ops.ones((1, 6, 6, 16))).shape == (1, 6, 6, 64)
    True
    >>> layer.codebook.shape == (32, 9) and layer.codes.shape == (16, 64)
    True

    Raises:
        ValueError: `centroids` or `block_channels` is out of range, `groups` isn't 1,
            `data_format` is `"channels_first"`, or the layer is given a `lora_rank`.

    Reference:
        Stock, Joulin, Gribonval, Graham, Jégou 2020, "And the Bit Goes Down: Revisiting the
        Quantization of Neural Networks", arXiv:1907.05686, section 3.
    """

    _built_in = keras.layers.Conv2D

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
        centroids: int = 181,
        block_channels: int = 1,
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
            kernel_constraint,
            bias_constraint,
            centroids=centroids,
            block_channels=block_channels,
            **kwargs,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes codebook, codes and bias."""
        channels: Any = input_shape[-1]
        self.compute_output_shape(input_shape)  # Refuses images smaller than the kernel.
        self._add_weights((*self.kernel_size, channels, self.filters))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Maps (batch, height, width, channels) to (batch, new_height, new_width, filters)."""
        return self._compute(inputs, self.convolution_op)
