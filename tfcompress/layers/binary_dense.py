"""Fully connected layer with binary weights, binary inputs, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.layers.clip_weights import ClipWeights
from tfcompress.ops import binarize


@keras.saving.register_keras_serializable("tfcompress")
class BinaryDense(keras.layers.Dense):
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
        binarize_inputs: whether the inputs are binarised (XNOR-Net; else BWN).
        binarize_kernel: whether the weights are binarised.
        clip_value: where the straight-through gradients stop; the latent weights are clipped to
            it, too, unless another `kernel_constraint` is given.

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
        if not clip_value > 0:
            raise ValueError(f"clip_value must be positive. Received: clip_value={clip_value}")
        if binarize_kernel and kwargs.get("kernel_constraint") is None:
            kwargs["kernel_constraint"] = ClipWeights(clip_value)
        super().__init__(units, *args, **kwargs)
        self.binarize_inputs = binarize_inputs
        self.binarize_kernel = binarize_kernel
        self.clip_value = float(clip_value)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(batch, ..., channels) to (batch, ..., units)."""
        if self.binarize_inputs:
            inputs = binarize.ste_sign(inputs, self.clip_value)
        kernel = self.kernel
        if self.binarize_kernel:
            kernel = binarize.binary_kernel(kernel, self.clip_value)
        outputs = ops.matmul(inputs, kernel)
        if self.use_bias:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def logical_kernel(self) -> Any:
        """The kernel that the inputs are multiplied with: (channels, units)."""
        return binarize.binary_values(self.kernel) if self.binarize_kernel else self.kernel

    def lower(self, activations: str = "signed") -> Callable[[Any], Any]:
        """The same function in stock Keras layers.

        Args:
            activations: how the binary inputs are written: `"signed"` as -1 and +1, or `"unit"`
                as 0 and 1 (with doubled weights and a corrected bias), which 8-bit arithmetic
                holds without error.

        Returns:
            A function of a Keras tensor, which applies `keras.ops` and one stock `Dense`. The
            layer in it is made once: two calls share their weights.
        """
        kernel = ops.convert_to_numpy(self.logical_kernel())
        bias = ops.convert_to_numpy(self.bias) if self.use_bias else None
        if self.binarize_inputs:
            kernel, bias = binarize.unit_weights(kernel, bias, activations)
        dense = keras.layers.Dense(
            self.units, activation=self.activation, use_bias=bias is not None, name=self.name
        )

        def apply(x: Any) -> Any:
            if self.binarize_inputs:
                x = binarize.bits(x, activations)
            if not dense.built:
                dense.build(x.shape)
                dense.set_weights([kernel] if bias is None else [kernel, bias])
            return dense(x)

        return apply

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {
            **super().get_config(),
            "binarize_inputs": self.binarize_inputs,
            "binarize_kernel": self.binarize_kernel,
            "clip_value": self.clip_value,
        }
