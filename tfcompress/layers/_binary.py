"""What the layers of signs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.layers._stock import filled
from tfcompress.layers.arguments import channels_last
from tfcompress.layers.clip_weights import ClipWeights
from tfcompress.ops import binarize


class BinaryWeights(keras.layers.Layer):
    """Stands before a stock layer in the bases of one that multiplies signs."""

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
        """The inputs that the kernel meets, with the gradient that training sees."""
        if not self.binarize_inputs:
            return inputs
        return self._padded(binarize.ste_sign(inputs, self.clip_value))

    def _binary_kernel(self, kernel: Any) -> Any:
        """The kernel that the inputs meet, with the gradient that training sees."""
        return binarize.binary_kernel(kernel, self.clip_value) if self.binarize_kernel else kernel

    def _padded(self, signs: Any) -> Any:
        """Binary inputs with what the layer sets around them."""
        return signs

    def _stock(self, use_bias: bool) -> keras.layers.Layer:
        """The stock layer of the same form, for padded inputs."""
        raise NotImplementedError

    def logical_kernel(self) -> Any:
        """The kernel that the inputs are multiplied with, of the stock layer's shape."""
        return binarize.binary_values(self.kernel) if self.binarize_kernel else self.kernel

    def lower(self, activations: str = "signed") -> Callable[[Any], Any]:
        """The same function in stock Keras layers.

        Args:
            activations: how the binary inputs are written: `"signed"` as -1 and +1, or `"unit"`
                as 0 and 1 (with doubled weights and a corrected bias), which 8-bit arithmetic
                holds without error.

        Returns:
            A function of a Keras tensor, which applies `keras.ops` and one stock layer. That is
            made once: two calls share its weights.
        """
        kernel = ops.convert_to_numpy(self.logical_kernel())
        bias = ops.convert_to_numpy(self.bias) if self.use_bias else None
        if self.binarize_inputs:
            kernel, bias = binarize.unit_weights(kernel, bias, activations)
        stock = filled(self._stock(use_bias=bias is not None), kernel, bias)

        def apply(x: Any) -> Any:
            return stock(self._padded(binarize.bits(x, activations)) if self.binarize_inputs else x)

        return apply

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        names = ("binarize_inputs", "binarize_kernel", "clip_value")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
