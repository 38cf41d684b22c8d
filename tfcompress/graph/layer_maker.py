"""Makes the layers that a graph pass puts in the place of others, and puts them there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from tfcompress.graph.names import free_name
from tfcompress.graph.nodes import operations
from tfcompress.graph.rewrite import clone, rewrite


class LayerMaker:
    """Makes layers with names that are free, and keeps the weights that they will be given.

    A layer that is called twice in a model is replaced by layers that are called twice as well, so
    `layer` returns the same layer for the same owner and part.

    Args:
        model: flat, as `clone` returns it; its names are taken.
    """

    def __init__(self, model: keras.Model) -> None:
        names = (operation.name for operation in operations(model))
        self._taken = {*names, *(x.name for x in model.inputs)}
        self._made: dict[tuple[str, str], Any] = {}
        self._weights: list[tuple[Any, list[np.ndarray]]] = []

    def layer(
        self, owner: str, part: str, kind: str | type[keras.layers.Layer], **config: Any
    ) -> Any:
        """Returns one of the layers that replace another; makes it at the first call.

        Args:
            owner: name of the layer that is replaced.
            part: is put behind the owner's name; empty for a layer that gets the name itself.
            kind: a class, or its name in `keras.layers`.
            config: the class's arguments.
        """
        key = owner, part
        if key not in self._made:
            name = owner if not part else free_name(f"{owner}_{part}", self._taken)
            self._taken.add(name)
            make = getattr(layers, kind) if isinstance(kind, str) else kind
            self._made[key] = make(name=name, **config)
        return self._made[key]

    def names(self, owner: str) -> tuple[str, ...]:
        """Returns the names of the layers made for one that is replaced, in the order made."""
        return tuple(layer.name for (name, _), layer in self._made.items() if name == owner)

    def set_weights(self, layer: Any, *arrays: np.ndarray) -> None:
        """Keeps arrays for a layer that may not be built yet; `finish` gives them to it."""
        self._weights.append((layer, [np.asarray(array, "float32") for array in arrays]))

    def finish(self) -> None:
        """Gives each layer its weights. All must be built by now."""
        for layer, arrays in self._weights:
            layer.set_weights(arrays)

    def affine(self, owner: str, part: str, x: Any, scale: Any, offset: Any = 0.0) -> Any:
        """Returns `scale * x + offset` as the output of a 1x1 depthwise convolution.

        That is one integer op, while a product and a sum would be two and leave the value between
        them without a range. The one weight of a channel is held exactly by its own scale.

        Args:
            owner: name of the layer that is replaced.
            part: as of `layer`.
            x: symbolic tensor (batch, ..., channels).
            scale: a number, or one for each channel.
            offset: likewise.
        """
        channels = int(x.shape[-1])
        kernel = np.broadcast_to(np.asarray(scale, "float32").reshape(-1), (channels,))
        bias = np.broadcast_to(np.asarray(offset, "float32").reshape(-1), (channels,))
        convolution = self.layer(owner, part, "DepthwiseConv2D", kernel_size=1)
        self.set_weights(convolution, kernel.reshape(1, 1, channels, 1), bias)
        if len(x.shape) == 4:
            return convolution(x)
        inner = tuple(x.shape)[1:-1]
        side = -1 if None in inner else math.prod(inner)
        shape = tuple(-1 if size is None else size for size in tuple(x.shape)[1:])
        image = self.layer(owner, f"{part}_in", "Reshape", target_shape=(side, 1, channels))
        back = self.layer(owner, f"{part}_out", "Reshape", target_shape=shape)
        return back(convolution(image(x)))  # (batch, side, 1, channels) in between.


def replace_layers(
    model: keras.Model, replace: Mapping[str, Callable[..., Any]], maker: LayerMaker
) -> keras.Model:
    """Returns a copy with some layers replaced; the model itself if none are to be.

    Args:
        model: flat, as `clone` returns it.
        replace: layer name to the function that is called with the layer's inputs in its place.
        maker: has made the new layers, and gives them their weights.

    Returns:
        A flat model with weights of its own and unique names.
    """
    if not replace:
        return model
    functions = {name: ignoring_unset_arguments(function) for name, function in replace.items()}
    result = rewrite(model, functions)
    maker.finish()
    return clone(result)


def ignoring_unset_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function without the `mask=None` and `training=None` that Keras adds to calls."""
    return lambda *args, **kwargs: function(
        *args, **{key: value for key, value in kwargs.items() if value is not None}
    )
