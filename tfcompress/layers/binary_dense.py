"""Fully connected layer with binary weights, binary inputs, or both."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.layers._binary import BinaryWeights
from tfcompress.layers._builtin import add_bias_and_activate
from tfcompress.layers.channel_rules import ChannelRules, of_signs


@keras.saving.register_keras_serializable("tfcompress")
class BinaryDense(BinaryWeights, keras.layers.Dense):
    """Multiplies signs by scaled signs: `y = sign(x) @ (alpha * sign(W)) + b`.

    ```
    inputs    x~ = sign(x)                dL/dx = dL/dx~ * [|x| <= clip_value]
    weights   W~ = alpha * sign(W)        dL/dW = dL/dW~ * (1/n + alpha * [|W| <= clip_value])
    scale     alpha = mean |W| of each unit's n weights
    ```

    with `sign(0) = +1`. Training changes the latent weights W, and a `.keras` file holds them. This
    layer computes in floats; `tfcompress.export` writes files with bits or bytes for weights.

    It departs from the paper in one point: the activation scale K of section 3.2 isn't applied.

    Args:
        units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, bias_constraint: as in `keras.layers.Dense`.
        kernel_constraint: as in `keras.layers.Dense`; None for `ClipWeights(clip_value)`.
        binarize_inputs: whether the inputs are binarised (XNOR-Net; else BWN); True by default.
        binarize_kernel: whether the weights are binarised; True by default.
        clip_value: where the straight-through gradients stop; 1.0 by default.

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
        """Maps (batch, ..., channels) to (batch, ..., units)."""
        outputs = ops.matmul(self._binary_inputs(inputs), self._binary_kernel(self.kernel))
        return add_bias_and_activate(outputs, self.bias, self.activation)

    def channel_rules(self) -> ChannelRules:
        """Says that the kernel's last axis holds the units; what it takes can't be cut."""
        return of_signs("units", taps=0)

    def _built_in_layer(self, use_bias: bool) -> keras.layers.Layer:
        return keras.layers.Dense(
            self.units, activation=self.activation, use_bias=use_bias, name=self.name
        )
