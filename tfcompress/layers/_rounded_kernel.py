"""What wrappers share that compute with a rounded kernel in place of a layer's own."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Layers that can be wrapped, and the axes of a filter in their kernels.
FILTER_AXES: dict[str, tuple[int, ...]] = {
    "Conv2D": (0, 1, 2),
    "Conv2DTranspose": (0, 1, 3),
    "Dense": (0,),
    "DepthwiseConv2D": (0, 1),
}


class RoundedKernel(keras.layers.Wrapper):
    """Computes what a layer computes with another kernel, made of its own whenever it is called.

    Args:
        layer: one of `FILTER_AXES`.

    Attributes:
        few_bits: whether the kernel is trained for a few bits, so that export mustn't round it.

    Raises:
        ValueError: a layer of another class.
    """

    few_bits = True

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        if type(layer).__name__ not in FILTER_AXES:
            raise ValueError(
                f"layer must be one of {', '.join(FILTER_AXES)}. Received: {type(layer).__name__}"
            )
        self.supports_masking = bool(layer.supports_masking)

    @property
    def kernel(self) -> keras.Variable:
        """The weights that are trained, not rounded."""
        return self.layer.weights[0]

    @property
    def filter_axes(self) -> tuple[int, ...]:
        """The axes of one filter in the kernel."""
        return FILTER_AXES[type(self.layer).__name__]

    @property
    def learned_scales(self) -> tuple[keras.Variable, ...]:
        """The trained scales and steps, which weight decay would pull to 0."""
        return tuple(self._trainable_variables) if self.few_bits else ()

    def rounded_kernel(self) -> Any:
        """Returns the weights that the layer computes with."""
        raise NotImplementedError

    def start(self) -> None:
        """Sets steps or scales by the present weights, where there are such."""

    def _latent(self) -> Any:
        """Returns the weights that are trained as a tensor.

        TensorFlow would hand on the variable itself, and half precision cast it.
        """
        return ops.cast(self.kernel, self.kernel.dtype)

    def call(self, inputs: Any) -> Any:
        """Calls the layer with the rounded kernel."""
        return self._call_with(self.rounded_kernel(), inputs)

    def _call_with(self, kernel: Any, inputs: Any) -> Any:
        """Calls the layer with another kernel."""
        # A scope of its own hides an outer one, which has the others' values on JAX.
        values = [(variable, variable.value) for variable in self.layer.variables[1:]]
        values.append((self.kernel, kernel))
        with keras.StatelessScope(values, initialize_variables=False):
            return self.layer.call(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the layer's."""
        return self.layer.compute_output_shape(input_shape)

    def lower(self, **options: Any) -> keras.layers.Layer:
        """Returns the layer with the rounded weights."""
        layer = type(self.layer).from_config({**self.layer.get_config(), "name": self.name})
        layer.build(self.get_build_config()["input_shape"])
        layer.set_weights(
            [
                ops.convert_to_numpy(self.rounded_kernel()),
                *map(ops.convert_to_numpy, self.layer.weights[1:]),
            ]
        )
        return layer
