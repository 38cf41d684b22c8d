"""Puts TFMOT's wrappers around layers, by the names that these have in Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.bridge.legacy import tf_keras
from tfcompress.bridge.to_tf_keras import tf_names, to_tf_keras, unique
from tfcompress.graph.nodes import operations

# What TFMOT prunes and clusters: class to the attribute with the kernel. TFMOT wraps depthwise and
# recurrent layers, too, but leaves their kernels dense.
KERNELS = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "Conv3D": "kernel",
    "Dense": "kernel",
    "SeparableConv1D": "pointwise_kernel",
    "SeparableConv2D": "pointwise_kernel",
}


def wrapped(model: keras.Model, wrap: Mapping[str, Callable[[Any], Any]]) -> Any:
    """Returns a tf_keras copy of a Keras 3 model with some layers wrapped, and the same weights.

    Layers are wrapped one by one: TFMOT refuses a whole model for a layer that it doesn't know.

    Args:
        model: functional.
        wrap: by layer name, the function that wraps the tf_keras layer.
    """
    names = tf_names(unique(model))
    by_name = {names.get(name, name): function for name, function in wrap.items()}
    return tf_keras().models.clone_model(
        to_tf_keras(model),
        clone_function=lambda layer: by_name.get(layer.name, lambda same: same)(layer),
    )


def kernel(model: keras.Model, name: str) -> np.ndarray:
    """Returns the kernel of a layer of a Keras 3 model, of a class in `KERNELS`."""
    layer = next(layer for layer in operations(model) if layer.name == name)
    return np.asarray(keras.ops.convert_to_numpy(getattr(layer, KERNELS[type(layer).__name__])))
