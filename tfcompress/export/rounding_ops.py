"""Puts TensorFlow's rounding op in the place of layers that round activations.

The converter makes of it a conversion to integers of 8 bits and back, which float files compute
fast, and from which integer files take their activations' grids.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.graph import clone, rewrite
from tfcompress.graph.nodes import inputs_of, producer
from tfcompress.graph.rewrite import operations
from tfcompress.layers.few_bit_activations import FewBitActivations

# Steps between the ends of a grid of 8 bits.
_STEPS = 255
# Layers that reorder values, and that leave some out.
_REORDERING = ("Flatten", "Permute", "Reshape")
_SELECTING = ("Dropout", "GlobalMaxPooling2D", "MaxPooling2D")


class RoundingOp(keras.layers.Layer):
    """Rounds its input by `tf.quantization.fake_quant_with_min_max_args`.

    Args:
        low: the lower end of the range.
        high: the upper end.
        bits: of the integers.
        narrow: whether the lowest integer is left out.
    """

    def __init__(
        self, low: float, high: float, bits: int = 8, narrow: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.settings = {"low": low, "high": high, "bits": bits, "narrow": narrow}

    def call(self, inputs: Any) -> Any:
        """Rounds to the nearest values of the grid."""
        import tensorflow as tf

        return tf.quantization.fake_quant_with_min_max_args(
            inputs,
            self.settings["low"],
            self.settings["high"],
            num_bits=self.settings["bits"],
            narrow_range=self.settings["narrow"],
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {**super().get_config(), **self.settings}


def with_rounding_ops(model: keras.Model) -> keras.Model:
    """Returns the model with a rounding op in place of each `FewBitActivations` layer.

    The grid has 8 bits and the layer's own step, and ends at its highest value: what is above
    becomes the highest integer. What is below the lowest value is clipped beforehand, where the
    grid goes on.
    """
    source = clone(model)
    replace: dict[str, Any] = {}
    for layer in operations(source):
        if not isinstance(layer, FewBitActivations) or layer.name in replace:
            continue
        step, (low, high) = layer.step_size(), layer.integers
        rounding = RoundingOp((high - _STEPS) * step, high * step, name=layer.name)
        replace[layer.name] = rounding
        if high - low < _STEPS:
            replace[layer.name] = _clipped(rounding, low * step)
    return rewrite(source, replace) if replace else model


def _clipped(rounding: RoundingOp, lowest: float) -> Any:
    """Returns the rounding of what is at least so large."""

    def apply(x: Any) -> Any:
        if lowest == 0:
            return rounding(x if _flattened_relu(x) else ops.relu(x))
        return rounding(ops.maximum(x, lowest))

    return apply


def _flattened_relu(x: Any) -> bool:
    """Returns whether a tensor is a reordered ReLU's: there the converter keeps a second one."""
    if type(producer(x)).__name__ not in _REORDERING:
        return False
    while type(producer(x)).__name__ in (*_REORDERING, *_SELECTING):
        x = inputs_of(x)[0]
    operation = producer(x)
    function = getattr(operation, "activation", None)
    is_relu = type(operation).__name__ == "ReLU" and not operation.negative_slope
    return is_relu or getattr(function, "__name__", "") == "relu"
