"""Fully connected layer with binary weights, binary inputs, or both."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._binary import BinaryWeights
from tfcompress.layers._stock import finished


@keras.saving.register_keras_serializable("tfcompress")
class BinaryDense(BinaryWeights, keras.layers.Dense):
    """Dense layer of signs: `y = sign(x) @ (alpha * sign(W)) + b`.

    ```
    inputs    x~ = sign(x)                dL/dx = dL/dx~ * [|x| <= clip_value]
    weights   W~ = alpha * sign(W)        dL/dW = dL/dW~ * (1/n + alpha * [|W| <= clip_value])
    scale     alpha = mean |W| of each unit's n weights
    ```

    with `sign(0) = +1`. The latent weights W are what is trained and saved. This layer computes
    in floats: a file with bits or bytes for weights comes from `tfcompress.export`.

    Departure from the paper: the activation scale K of its section 3.2 isn't applied.

    Args:
        units, activation, use_bias, kernel_initializer and further arguments: as in
            `keras.layers.Dense`.
        binarize_inputs: whether the inputs are binarised (XNOR-Net; else BWN); True by default.
        binarize_kernel: whether the weights are binarised; True by default.
        clip_value: where the straight-through gradients stop, 1.0 by default; the latent weights
            are clipped to it, too, unless another `kernel_constraint` is given.

    Input shape:
        `(batch, ..., channels)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    >>> import keras
    >>> BinaryDense(3)(keras.ops.ones((2, 5))).shape == (2, 3)
    True

    Raises:
        ValueError: neither inputs nor weights are to be binarised, or `clip_value` isn't
            positive.

    Reference:
        Rastegari, Ordonez, Redmon, Farhadi 2016, "XNOR-Net", arXiv:1603.05279, section 3.
    """

    def __init__(
        self,
        units: int,
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
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
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
            **kwargs,
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(batch, ..., channels) to (batch, ..., units)."""
        outputs = ops.matmul(self._binary_inputs(inputs), self._binary_kernel(self.kernel))
        return finished(outputs, self.bias, self.activation)

    def _stock(self, use_bias: bool) -> keras.layers.Layer:
        return keras.layers.Dense(
            self.units, activation=self.activation, use_bias=use_bias, name=self.name
        )
