"""Puts TFMOT's wrappers around layers, by the names that these have in Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.bridge.legacy import tf_keras
from tfcompress.bridge.to_tf_keras import tf_names, to_tf_keras, unique
from tfcompress.graph.nodes import operations

# Layers with one kernel: class to its attribute. TFMOT leaves depthwise kernels alone.
_KERNELS = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Dense", "EinsumDense"), "kernel"),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), "kernel"),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), "pointwise_kernel"),
    "Embedding": "embeddings",
}
# Layers of one cell or several, each with a kernel for its input and one for its state.
RECURRENT = frozenset({"GRU", "LSTM", "RNN", "SimpleRNN", "Bidirectional"})
# What TFMOT's clustering has no wrapper for.
_CONVOLUTIONAL = frozenset({"ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})
NOT_CLUSTERED = _CONVOLUTIONAL | {"MultiHeadAttention", "TimeDistributed"}


def kernel_variables(layer: Any) -> list[Any]:
    """Returns the kernels of a layer that TFMOT can work on; none for other layers.

    Args:
        layer: built, of either Keras.
    """
    kind = type(layer).__name__
    if kind in _KERNELS:
        return [getattr(layer, _KERNELS[kind])]
    if kind in RECURRENT | _CONVOLUTIONAL:
        return [kernel for cell in _cells(layer) for kernel in (cell.kernel, cell.recurrent_kernel)]
    if kind == "TimeDistributed":
        return kernel_variables(layer.layer)
    if kind == "MultiHeadAttention":
        parts = ("_query_dense", "_key_dense", "_value_dense", "_output_dense")
        return [getattr(layer, part).kernel for part in parts]
    return []


def _cells(layer: Any) -> list[Any]:
    """Returns the cells of a recurrent layer."""
    if type(layer).__name__ == "Bidirectional":
        return [*_cells(layer.forward_layer), *_cells(layer.backward_layer)]
    return list(layer.cell.cells) if hasattr(layer.cell, "cells") else [layer.cell]


def wrapped(model: keras.Model, wrap: Mapping[str, Callable[[Any], Any]]) -> Any:
    """Returns a tf_keras copy of a Keras 3 model with some layers wrapped, and the same weights.

    Layers are wrapped one by one: TFMOT refuses a whole model for a layer that it doesn't know.

    Args:
        model: functional.
        wrap: by layer name, the function that wraps the tf_keras layer.
    """
    names = tf_names(unique(model))
    by_name = {names.get(name, name): function for name, function in wrap.items()}

    def wrapped_or_same(layer: Any) -> Any:
        if layer.name not in by_name:
            return layer
        wrapper = by_name[layer.name](layer)
        # TFMOT's wrappers give every layer its input's mask, which most don't take, and make none.
        wrapper.compute_mask = layer.compute_mask
        wrapper.supports_masking = layer.supports_masking
        wrapper._call_spec.expects_mask_arg = layer._call_spec.expects_mask_arg
        return wrapper

    return tf_keras().models.clone_model(to_tf_keras(model), clone_function=wrapped_or_same)


def kernels(model: keras.Model, name: str) -> list[np.ndarray]:
    """Returns the kernels of a layer of a Keras 3 model, as `kernel_variables` lists them."""
    layer = next(layer for layer in operations(model) if layer.name == name)
    return [
        np.asarray(keras.ops.convert_to_numpy(variable)) for variable in kernel_variables(layer)
    ]
