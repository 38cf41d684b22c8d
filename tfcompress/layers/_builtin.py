"""Makes built-in Keras layers with given weights, as lowering needs them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def with_weights(layer: keras.layers.Layer, kernel: Any, bias: Any = None) -> Any:
    """Builds a built-in convolution or dense layer for a kernel and gives it that and the bias."""
    inputs = kernel.shape[-2] * getattr(layer, "groups", 1)
    layer.build((*[None] * (len(kernel.shape) - 1), inputs))
    layer.set_weights([ops.convert_to_numpy(w) for w in (kernel, bias) if w is not None])
    return layer


def add_bias_and_activate(outputs: Any, bias: Any, activation: Any) -> Any:
    """Ends a layer's call: adds the bias and applies the activation, either unless it is None."""
    if bias is not None:
        outputs = ops.add(outputs, bias)
    return outputs if activation is None else activation(outputs)
