"""Holds what BinaryConv2D and BinaryDense share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.layers._builtin import with_weights
from tfcompress.layers.arguments import channels_last
from tfcompress.layers.clip_weights import ClipWeights
from tfcompress.ops import binarize


class BinaryWeights(keras.layers.Layer):
    """Gives a built-in layer binary inputs and weights: stands before it among the bases."""

    def __init__(
        self,
        *args: Any,
        kernel_constraint: Any,
        binarize_inputs: bool,
        binarize_kernel: bool,
        clip_value: float,
        **kwargs: Any,
    ) -> None:
        if not (binarize_inputs or binarize_kernel):
            raise ValueError(
                "A binary layer binarises its inputs, its kernel, or both. Received: "
                "binarize_inputs=False, binarize_kernel=False"
            )
        if not clip_value > 0:
            raise ValueError(f"clip_value must be positive. Received: clip_value={clip_value}")
        if binarize_kernel and kernel_constraint is None:
            kernel_constraint = ClipWeights(clip_value)
        super().__init__(*args, kernel_constraint=kernel_constraint, **kwargs)
        channels_last(self)
        self.binarize_inputs = binarize_inputs
        self.binarize_kernel = binarize_kernel
        self.clip_value = float(clip_value)

    def _binary_inputs(self, inputs: Any) -> Any:
        """Returns the inputs that the kernel meets, with the gradient that training sees."""
        if not self.binarize_inputs:
            return inputs
        return self._padded(binarize.ste_sign(inputs, self.clip_value))

    def _binary_kernel(self, kernel: Any) -> Any:
        """Returns the kernel that the inputs meet, with the gradient that training sees."""
        return binarize.binary_kernel(kernel, self.clip_value) if self.binarize_kernel else kernel

    def _padded(self, signs: Any) -> Any:
        """Returns binary inputs with the padding that the layer sets around them."""
        return signs

    def _built_in_layer(self, use_bias: bool) -> keras.layers.Layer:
        """Makes the built-in layer of the same form, for padded inputs."""
        raise NotImplementedError

    def logical_kernel(self) -> Any:
        """Returns the kernel that the inputs are multiplied with, of the built-in layer's shape."""
        return binarize.binary_values(self.kernel) if self.binarize_kernel else self.kernel

    def lower(self, activations: str = "signed") -> Callable[[Any], Any]:
        """Returns the same function in built-in Keras layers.

        Args:
            activations: how the binary inputs are written: `"signed"` as -1 and +1, or `"unit"`
                as 0 and 1 (with doubled weights and a corrected bias), which 8-bit arithmetic
                holds without error.

        Returns:
            A function of a Keras tensor, which applies `keras.ops` and one built-in layer. The
            layer is made once: two calls share its weights.
        """
        kernel = ops.convert_to_numpy(self.logical_kernel())
        bias = ops.convert_to_numpy(self.bias) if self.use_bias else None
        if self.binarize_inputs:
            kernel, bias = binarize.unit_weights(kernel, bias, activations)
        built_in = with_weights(self._built_in_layer(use_bias=bias is not None), kernel, bias)

        def apply(x: Any) -> Any:
            if self.binarize_inputs:
                x = self._padded(binarize.bits(x, activations))
            return built_in(x)

        return apply

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        names = ("binarize_inputs", "binarize_kernel", "clip_value")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
