"""Batch normalisation that shifts where others multiply."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.ops import few_bits, fixed_point


def _shift(x: Any) -> Any:
    """Returns the power of two next to each value; its gradient passes straight through."""
    return few_bits.straight_through(x, fixed_point.power_of_two(x))


@keras.saving.register_keras_serializable("tfcompress")
class ShiftBatchNormalization(keras.layers.Layer):
    """Normalises each channel by a power of two, and scales it by another.

    ```
    c = x - mean(x)
    v = mean(c * AP2(c))
    y = c * AP2(1 / sqrt(v + epsilon)) * AP2(gamma) + beta,  AP2(x) = sign(x) * 2^round(log2 |x|)
    ```

    over all axes but the last, the channels'. Gradients pass the AP2s straight through. At
    inference `mean(x)` and v are moving averages, as in `keras.layers.BatchNormalization`.

    In integer hardware these products are shifts; this layer computes with floats, and no faster.

    Args:
        momentum: of the moving averages.
        epsilon: added to v.

    Input shape:
        `(batch, ..., channels)`.

    Output shape:
        The input's.

    Example:
    >>> import keras, numpy as np
    >>> layer = ShiftBatchNormalization(epsilon=0.0)
    >>> x = np.array([[0.0], [6.0]], "float32")  # c = -3, 3; AP2(c) = -4, 4; v = 12.
    >>> np.asarray(layer(x, training=True)).ravel().tolist()
    [-0.75, 0.75]

    Raises:
        ValueError: `momentum` isn't from 0 to 1, `epsilon` is negative, or the channels are open.

    Reference:
        Hubara, Courbariaux, Soudry, El-Yaniv, Bengio 2016, "Quantized Neural Networks",
        arXiv:1609.07061, section 2.4, algorithm 3; beta as its authors' code has it.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be from 0 to 1. Received: momentum={momentum}")
        if epsilon < 0:
            raise ValueError(f"epsilon must be 0 or more. Received: epsilon={epsilon}")
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes scale, offset and moving averages of each channel."""
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(
                f"The channels must be defined. Received: input shape {tuple(input_shape)}"
            )
        shape = (channels,)
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        fixed: dict[str, Any] = {"shape": shape, "trainable": False, "autocast": False}
        self.moving_mean = self.add_weight(initializer="zeros", name="moving_mean", **fixed)
        self.moving_variance = self.add_weight(initializer="ones", name="moving_variance", **fixed)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalises by the batch's statistics in training, else by the moving averages."""
        x = ops.cast(inputs, self.variable_dtype)  # Half precision holds no sums of a batch.
        if training and self.trainable:
            axes = tuple(range(len(inputs.shape) - 1))
            mean = ops.mean(x, axis=axes)
            centred = x - mean
            variance = ops.mean(centred * _shift(centred), axis=axes)
            for average, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moved = average * self.momentum + ops.stop_gradient(new) * (1 - self.momentum)
                average.assign(moved)
        else:
            centred = x - self.moving_mean
            variance = ops.convert_to_tensor(self.moving_variance)
        scale = _shift(ops.rsqrt(variance + self.epsilon)) * _shift(self._gamma())
        beta = ops.cast(self.beta, self.variable_dtype)
        return ops.cast(centred * scale + beta, self.compute_dtype)

    def _gamma(self) -> Any:
        """Returns gamma as a tensor: TensorFlow would hand on the variable, half precision cast."""
        return ops.cast(ops.convert_to_tensor(self.gamma), self.variable_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def lower(self, **options: Any) -> keras.layers.Layer:
        """Returns a batch normalisation with these powers of two as gamma, and a variance of 1."""
        layer = keras.layers.BatchNormalization(
            momentum=self.momentum, epsilon=self.epsilon, name=self.name
        )
        layer.build(self.get_build_config()["input_shape"])
        variance = ops.convert_to_tensor(self.moving_variance)
        scale = fixed_point.power_of_two(
            ops.rsqrt(variance + self.epsilon)
        ) * fixed_point.power_of_two(self._gamma())
        ones = ops.ones_like(scale) - self.epsilon
        layer.set_weights(
            list(map(ops.convert_to_numpy, (scale, self.beta, self.moving_mean, ones)))
        )
        return layer

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}
