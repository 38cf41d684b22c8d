"""2D convolution whose weights share a smaller number of stored ones."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfcompress.layers._builtin import add_bias_and_activate
from tfcompress.layers._hashed import HashedWeights
from tfcompress.ops import hashing as hashes


@keras.saving.register_keras_serializable("tfcompress")
class HashedConv2D(HashedWeights, keras.layers.Conv2D):
    """Convolves with a large logical kernel V made of few stored weights w: `y = conv(x, V) + b`.

    ```
    "permutation"  V[:, :, p_q(c), q * R + r] = w[:, :, c, r] * xi_q(c)
                   dL/dw[:, :, c, r] = s * sum over q of xi_q(c) * dL/dV[:, :, p_q(c), q * R + r]
    "elementwise"  V[i, f] = w[h(i, f)] * xi(i, f) for i over taps and channels, f over filters
                   dL/dw[k] = s * sum over h(i, f) = k of xi(i, f) * dL/dV[i, f]
    ```

    `"elementwise"` hashes each weight of the kernel by itself, as the paper does a dense layer's.
    A `.tflite` file of it holds w and expands it when it first runs.

    `"permutation"` isn't the paper's: it cuts the filters into blocks q of R = ceil(ratio *
    filters), which use the same R filters, each on its own permutation p_q of the input's channels
    with its own signs xi_q. A file holds w and 4 bytes for each channel and block. It computes the
    logical layer's products and copies the input for each block, so it takes longer than
    `keras.layers.Conv2D`: this saves space, not time.

    Both expand V for training; for `"permutation"` that costs little beside the convolution itself.
    `HashedDense` explains `hash_seed` and `gradient_scale`.

    Args:
        filters, kernel_size: as in `keras.layers.Conv2D`.
        compression_ratio: stored weights divided by logical ones, in (0, 1]; 1/8, the default,
            stores 8 times fewer. For `"permutation"`, 1 divided by a whole number.
        hashing: `"permutation"`, the default, or `"elementwise"`.
        hash_seed: of positions and signs, 0 or more; 0 by default.
        hash_bias: whether the biases share max(1, round(ratio * filters)) stored ones, elementwise;
            False by default.
        gradient_scale: the factor s of the hashed weights' gradients; None for
            sqrt(compression_ratio).
        strides, padding, dilation_rate, activation, use_bias, bias_initializer,
            kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint: as in `keras.layers.Conv2D`; the kernel's act on the stored weights.
        kernel_initializer: as in `keras.layers.Conv2D`; called with the shape of V, of which the
            first values are taken, so that variances are the logical layer's.
        data_format: `"channels_last"` or None.
        groups: 1.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        As of `keras.layers.Conv2D`: `(batch, new_height, new_width, filters)`.

    Example:
    >>> import keras
    >>> layer = HashedConv2D(8, 3, compression_ratio=1 / 4, padding="same", use_bias=False)
    >>> layer(keras.ops.ones((1, 6, 6, 2))).shape == (1, 6, 6, 8)
    True
    >>> layer.count_params()  # Of 144.
    36

    Raises:
        ValueError: `HashedDense` would refuse the arguments, `groups` isn't 1, or `data_format` is
            `"channels_first"`.

    Reference:
        Chen, Wilson, Tyree, Weinberger, Chen 2015, "Compressing Neural Networks with the Hashing
        Trick", arXiv:1504.04788, section 4; of convolutions: the same authors 2016, "Compressing
        Convolutional Neural Networks in the Frequency Domain", arXiv:1506.04449.
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
        compression_ratio: float = 1 / 8,
        hashing: str = "permutation",
        hash_seed: int = 0,
        hash_bias: bool = False,
        gradient_scale: float | None = None,
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
            compression_ratio=compression_ratio,
            hashing=hashing,
            hash_seed=hash_seed,
            hash_bias=hash_bias,
            gradient_scale=gradient_scale,
            **kwargs,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the stored weights."""
        channels: Any = input_shape[-1]
        self.compute_output_shape(input_shape)  # Refuses images smaller than the kernel.
        shape = (*self.kernel_size, channels, self.filters)
        rows = channels if self.hashing == "permutation" else math.prod(shape[:3])
        self.positions = hashes.make(
            self.hashing, rows, self.filters, self.compression_ratio, self.hash_seed
        )
        stored = self.positions.stored_shape
        if self.hashing == "permutation":
            stored = (*self.kernel_size, *stored)
        self._add_weights(shape, stored)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Maps (batch, height, width, channels) to (batch, new_height, new_width, filters)."""
        outputs = self.convolution_op(inputs, self._expand(self._trained(self.kernel)))
        return add_bias_and_activate(outputs, self.logical_bias(), self.activation)

    def _expand(self, weights: Any) -> Any:
        """Expands the stored weights to (height, width, channels, filters)."""
        kernel = self.positions.expand(weights)
        return ops.reshape(kernel, (*self.kernel_size, -1, self.filters))

    def logical_kernel(self) -> Any:
        """Returns the kernel V of the convolution: (height, width, channels, filters)."""
        return self._expand(ops.convert_to_tensor(self.kernel))

    def _built_in_layer(self, units: int, activation: Any, use_bias: bool) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            units,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            activation=activation,
            use_bias=use_bias,
            name=self.name,
        )

    def _reshapes(self, shape: tuple[int | None, ...]) -> bool:
        return None not in shape[1:]

    def _each_block(self, x: Any, built_in: keras.layers.Layer, blocks: int) -> Any:
        height, width, channels = x.shape[1:]
        x = ops.reshape(x, (-1, height, width, blocks, channels // blocks))
        x = ops.transpose(x, (0, 3, 1, 2, 4))  # Blocks beside the batch.
        x = built_in(ops.reshape(x, (-1, height, width, channels // blocks)))
        height, width, filters = x.shape[1:]
        x = ops.reshape(x, (-1, blocks, height, width, filters))
        x = ops.transpose(x, (0, 2, 3, 1, 4))  # Blocks beside their filters.
        return ops.reshape(x, (-1, height, width, blocks * filters))
