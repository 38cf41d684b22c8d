"""Turns convolutions over `channels_first` sequences and volumes into ones over `channels_last`.

TensorFlow's converter adds the biases of images with their channels first, and fails at those of
sequences and volumes.
"""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.graph.nodes import operations
from tfcompress.graph.rewrite import Apply, clone, rewrite

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv3D,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.SeparableConv1D,
)


def channels_last(model: keras.Model) -> keras.Model:
    """Returns the same function with these convolutions between transpositions.

    A model without any is returned as it is.
    """
    if not any(map(_is_first, operations(model))):
        return model
    flat = clone(model)  # Names are unique in it.
    first = {layer.name: layer for layer in operations(flat) if _is_first(layer)}
    return rewrite(flat, {name: _between_transpositions(x) for name, x in first.items()})


def _is_first(layer: Any) -> bool:
    return isinstance(layer, _CONVOLUTIONS) and layer.data_format == "channels_first"


def _between_transpositions(layer: Any) -> Apply:
    """Returns a function that does what the layer does, with its weights."""
    twin = type(layer).from_config({**layer.get_config(), "data_format": "channels_last"})

    def apply(x: Any, *args: Any, **kwargs: Any) -> Any:
        rank = len(x.shape)
        y = keras.ops.transpose(x, (0, *range(2, rank), 1))
        if not twin.built:
            twin.build(y.shape)
            twin.set_weights(layer.get_weights())
        return keras.ops.transpose(twin(y, *args, **kwargs), (0, rank - 1, *range(1, rank - 1)))

    return apply
