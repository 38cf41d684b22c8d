"""Splits activations from the layers that they stand in: each becomes a layer of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.rewrite import Graph

# Layers that apply an activation last.
SPLIT = frozenset(
    {
        *("Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv1D", "DepthwiseConv2D"),
        *("SeparableConv1D", "SeparableConv2D", "Conv1DTranspose", "EinsumDense"),
    }
)


def split_activations(model: keras.Model) -> tuple[keras.Model, dict[str, str]]:
    """Returns the model with linear layers and their activations as layers behind them.

    Args:
        model: flat, as `clone` returns it; it stays as it is.

    Returns:
        A model with weights of its own, or the same one if nothing is to be split; and the names of
        the split layers, each with the name of its activation.
    """
    maker = LayerMaker(model)
    replace: dict[str, Callable[..., Any]] = {}
    activations: dict[str, str] = {}
    for name, layer in Graph.of(model).operations.items():
        if type(layer).__name__ in SPLIT and layer.activation is not keras.activations.linear:
            linear, activation = without_activation(layer, maker)
            replace[name] = lambda x, linear=linear, activation=activation: activation(linear(x))
            function = getattr(layer.activation, "__name__", None)
            activations[name] = function or type(layer.activation).__name__
    return replace_layers(model, replace, maker), activations


def without_activation(layer: Any, maker: LayerMaker) -> tuple[Any, Any]:
    """Returns a copy of a layer with a linear activation, and its activation as a layer.

    Args:
        layer: one of `SPLIT`.
        maker: makes the activation layer, and keeps the weights of both until they are built.
    """
    config = layer.get_config()
    activation = config.pop("activation")
    linear = type(layer).from_config({**config, "activation": "linear"})
    maker.set_weights(linear, *layer.get_weights())
    if not isinstance(layer.activation, keras.layers.Layer):
        return linear, maker.layer(layer.name, "activation", "Activation", activation=activation)
    inner = layer.activation
    name = f"{layer.name}_activation"
    behind = type(inner).from_config({**inner.get_config(), "name": name})
    if inner.weights:
        maker.set_weights(behind, *inner.get_weights())
    return linear, behind
