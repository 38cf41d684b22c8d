"""Holds what BinaryConv2D and BinaryDense share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfcompress.layers._builtin import with_weights
from tfcompress.layers.arguments import channels_last
from tfcompress.layers.clip_weights import ClipWeights
from tfcompress.ops import activation_levels, binarize


class BinaryWeights(keras.layers.Layer):
    """Gives a built-in layer binary inputs and weights: stands before it among the bases."""

    def __init__(
        self,
        *args: Any,
        kernel_constraint: Any,
        binarize_inputs: bool,
        binarize_kernel: bool,
        clip_value: float,
        input_bits: int,
        shift_scale: bool,
        **kwargs: Any,
    ) -> None:
        if not (binarize_inputs or binarize_kernel):
            raise ValueError(
                "A binary layer binarises its inputs, its kernel, or both. Received: "
                "binarize_inputs=False, binarize_kernel=False"
            )
        if not clip_value > 0:
            raise ValueError(f"clip_value must be positive. Received: clip_value={clip_value}")
        if input_bits not in (1, 2) or (input_bits == 2 and not binarize_inputs):
            raise ValueError(
                "input_bits must be 1 or 2, and 1 of inputs that stay floats. Received: "
                f"input_bits={input_bits}, binarize_inputs={binarize_inputs}"
            )
        if binarize_kernel and kernel_constraint is None:
            kernel_constraint = ClipWeights(clip_value)
        super().__init__(*args, kernel_constraint=kernel_constraint, **kwargs)
        channels_last(self)
        self.binarize_inputs = binarize_inputs
        self.binarize_kernel = binarize_kernel
        self.clip_value = float(clip_value)
        self.input_bits = int(input_bits)
        self.shift_scale = bool(shift_scale)

    def build(self, input_shape: Any) -> None:
        """Makes the built-in layer's weights, and the step of inputs of 2 bits."""
        super().build(input_shape)
        if self.input_bits == 2:
            self.input_step = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(activation_levels.FIRST_STEP),
                name="input_step",
            )

    def save_own_variables(self, store: Any) -> None:
        """Writes the weights; Keras's own layers write but kernel and bias."""
        super().save_own_variables(store)
        if self.built and self.input_bits == 2:
            store[str(1 + self.use_bias)] = self.input_step

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` wrote."""
        super().load_own_variables(store)
        if self.built and self.input_bits == 2:
            self.input_step.assign(store[str(1 + self.use_bias)])

    @property
    def takes_signs(self) -> bool:
        """Whether the kernel meets -1 and +1."""
        return self.binarize_inputs and self.input_bits == 1

    def input_thresholds(self) -> tuple[float, ...]:
        """Returns what binarised inputs are compared with: 0, or where three levels begin."""
        return (0.0,) if self.takes_signs else activation_levels.thresholds(self._step())

    def _step(self) -> float:
        """Returns the step of inputs of 2 bits."""
        step = activation_levels.positive(ops.convert_to_tensor(self.input_step))
        return float(ops.convert_to_numpy(step))

    def _binary_inputs(self, inputs: Any) -> Any:
        """Returns the inputs that the kernel meets, with the gradient that training sees."""
        if not self.binarize_inputs:
            return inputs
        if self.input_bits == 2:
            step = ops.cast(self.input_step, inputs.dtype)
            return activation_levels.learned_levels(inputs, step)
        return self._padded(binarize.ste_sign(inputs, self.clip_value))

    def _binary_kernel(self, kernel: Any) -> Any:
        """Returns the kernel that the inputs meet, with the gradient that training sees."""
        if not self.binarize_kernel:
            return kernel
        return binarize.binary_kernel(kernel, self.clip_value, self.shift_scale)

    def _padded(self, signs: Any) -> Any:
        """Returns binary inputs with the padding that the layer sets around them."""
        return signs

    def _built_in_layer(self, use_bias: bool) -> keras.layers.Layer:
        """Makes the built-in layer of the same form, for padded inputs."""
        raise NotImplementedError

    def logical_kernel(self) -> Any:
        """Returns the kernel that the inputs are multiplied with, of the built-in layer's shape."""
        if not self.binarize_kernel:
            return self.kernel
        return binarize.binary_values(self.kernel, self.shift_scale)

    def lower(self, activations: str = "signed") -> Callable[[Any], Any]:
        """Returns the same function in built-in Keras layers.

        Args:
            activations: how binary inputs of 1 bit are written: `"signed"` as -1 and +1, or
                `"unit"` as 0 and 1 (with doubled weights and a corrected bias), which 8-bit
                arithmetic holds without error. Those of 2 bits are always written as 0, 1, 2 and
                3, with weights multiplied by the step.

        Returns:
            A function of a Keras tensor, which applies `keras.ops` and one built-in layer. The
            layer is made once: two calls share its weights.
        """
        kernel = ops.convert_to_numpy(self.logical_kernel())
        bias = ops.convert_to_numpy(self.bias) if self.use_bias else None
        step = None
        if self.input_bits == 2:
            binarize.check_activations(activations)
            step = self._step()
            kernel = kernel * step
        elif self.binarize_inputs:
            kernel, bias = binarize.unit_weights(kernel, bias, activations)
        built_in = with_weights(self._built_in_layer(use_bias=bias is not None), kernel, bias)

        def apply(x: Any) -> Any:
            if step is not None:
                x = activation_levels.levels(x, step)
            elif self.binarize_inputs:
                x = self._padded(binarize.bits(x, activations))
            return built_in(x)

        return apply

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        names = ("binarize_inputs", "binarize_kernel", "clip_value", "input_bits", "shift_scale")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
