"""Stock layers with given weights, as lowering makes them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def filled(layer: keras.layers.Layer, kernel: Any, bias: Any = None) -> Any:
    """The stock convolution or dense layer, built for a kernel, with that and a bias, if any."""
    inputs = kernel.shape[-2] * getattr(layer, "groups", 1)
    layer.build((*[None] * (len(kernel.shape) - 1), inputs))
    layer.set_weights([ops.convert_to_numpy(w) for w in (kernel, bias) if w is not None])
    return layer


def finished(outputs: Any, bias: Any, activation: Any) -> Any:
    """The end of a layer's call: the bias, unless it is None, and the activation, unless None."""
    if bias is not None:
        outputs = ops.add(outputs, bias)
    return outputs if activation is None else activation(outputs)
