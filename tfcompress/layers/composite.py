"""Holds what the layers share that are made of built-in layers."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import keras
from keras import layers


def he_depthwise(kernel_size: tuple[int, int]) -> keras.initializers.Initializer:
    """Returns He et al.'s normal initialiser for depthwise kernels (2015, arXiv:1502.01852).

    Keras's own initialisers count all channels as inputs of each kernel, though it sees one: they
    make depthwise outputs sqrt(channels) times too small. Batch normalisation hides that from
    training but not from its moving variance, which starts at 1: networks tested within their
    first hundreds of steps then guess.
    """
    return keras.initializers.RandomNormal(stddev=math.sqrt(2 / math.prod(kernel_size)))


class Composite(keras.layers.Layer):
    """Computes a block of built-in layers, whose forward pass is written once.

    A subclass names its sublayers in `parts` and says in `forward` how they follow one another;
    `call` runs that with the layer's own sublayers, `lower` with copies of them.

    Attributes:
        parts: names of the attributes that hold the sublayers; one that is None is left out.
    """

    parts: tuple[str, ...] = ()

    def forward(self, parts: Any, inputs: Any, training: bool | None) -> Any:
        """Returns the outputs, by sublayers that `parts` has as attributes."""
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Applies the layer's own sublayers to `(batch, height, width, channels)`."""
        return self.forward(self, inputs, training)

    def lower(self, **options: Any) -> Callable[[Any], Any]:
        """Returns the same function in built-in Keras layers, with this layer's weights.

        Args:
            options: for other layers' `lower`; none has a meaning here.

        Returns:
            A function of a Keras tensor. The layers in it are made once, in float32 under mixed
            precision, too: two calls share their weights.
        """
        copies = types.SimpleNamespace()
        for name in self.parts:
            part = getattr(self, name)
            setattr(copies, name, part and self._copy(part, f"{self.name}_{name}"))
        return lambda inputs: self.forward(copies, inputs, None)

    def sublayer(self, kind: type[layers.Layer], *args: Any, **kwargs: Any) -> layers.Layer:
        """Makes a built-in layer of this layer's precision."""
        return kind(*args, dtype=self.dtype_policy, **kwargs)

    def activation_layer(self, activation: Any) -> layers.Layer | None:
        """Makes a built-in layer for an activation function; returns None for a linear one."""
        function = keras.activations.get(activation)
        if function is keras.activations.linear:
            return None
        if function is keras.activations.relu:
            return self.sublayer(layers.ReLU)
        return self.sublayer(layers.Activation, function)

    def _copy(self, part: layers.Layer, name: str) -> layers.Layer:
        """Copies a built-in layer with its weights."""
        config = {**part.get_config(), "name": name, "dtype": part.variable_dtype}
        copy = type(part).from_config(config)
        copy.build_from_config(part.get_build_config())
        copy.set_weights(part.get_weights())
        return copy
