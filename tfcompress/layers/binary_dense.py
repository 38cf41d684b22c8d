"""Fully connected layer with binary weights, inputs of one or two bits, or both."""

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

    With `input_bits=2` the inputs have four levels instead, of which a step s is trained:

    ```
    inputs    x~ = s * ([x >= s/2] + [x >= 3s/2] + [x >= 5s/2])
              dL/dx = dL/dx~ * [0 <= x <= 3s];  dL/ds as LSQ has it
    ```

    Such an input is two bits, and a product two products of bits.

    It departs from the paper in one point: the activation scale K of section 3.2 isn't applied.

    Args:
        units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, bias_constraint: as in `keras.layers.Dense`.
        kernel_constraint: as in `keras.layers.Dense`; None for `ClipWeights(clip_value)`.
        binarize_inputs: whether the inputs are binarised (XNOR-Net; else BWN); True by default.
        binarize_kernel: whether the weights are binarised; True by default.
        clip_value: where the straight-through gradients stop; 1.0 by default.
        input_bits: of binarised inputs: 1 for signs, by default, or 2 for the levels 0 to 3 times
            a trained step.
        shift_scale: whether alpha is the power of two next to the mean, and the gradient
            `dL/dW~ * alpha * [|W| <= clip_value]`; False by default.

    Input shape:
        `(batch, ..., channels)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    >>> import keras
    >>> BinaryDense(3)(keras.ops.ones((2, 5))).shape == (2, 3)
    True

    Raises:
        ValueError: neither inputs nor weights are to be binarised, `clip_value` isn't positive,
            or `input_bits` isn't 1 or 2.

    Reference:
        Rastegari, Ordonez, Redmon, Farhadi 2016, "XNOR-Net", arXiv:1603.05279, section 3.
        Levels: Esser et al. 2020, "Learned Step Size Quantization", arXiv:1902.08153, section 2;
        behind a batch normalisation: Cai et al. 2017, arXiv:1702.00953.
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
        input_bits: int = 1,
        shift_scale: bool = False,
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
            input_bits=input_bits,
            shift_scale=shift_scale,
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
