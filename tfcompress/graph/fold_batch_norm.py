"""Folds batch normalisations into the weights of the layers before them.

The converter does so too, but later. A folded filter is the filter times a scale of its own, so
what its weights share with other filters' (k-means values, for one) they don't share afterwards:
passes that make weights equal come after this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.graph.batch_norm import scale_and_offset
from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.rewrite import Graph, clone

# What a batch normalisation can be folded into.
FOLDABLE = ("Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D")


def fold_batch_norms(model: keras.Model) -> tuple[keras.Model, dict[str, str]]:
    """Returns a flat copy in which batch normalisations are part of the layers before them.

    A weight that was zero stays zero, and is never a negative one: a file's zeros are then all the
    same bytes.

    Args:
        model: functional, of built-in layers; it stays as it is.

    Returns:
        The copy; and, by the name of each normalisation that is gone, the name of the convolution
        or dense layer that it is part of now.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3.2, equation 14.
    """
    source = clone(model)
    graph = Graph.of(source)
    maker = LayerMaker(source)
    replace: dict[str, Callable[..., Any]] = {}
    folded_into: dict[str, str] = {}
    for name, layer in graph.operations.items():
        before = foldable_layer_before(graph, name)
        if before is not None:
            replace[before] = folded_layer(graph.operations[before], layer, maker)
            replace[name] = lambda x: x
            folded_into[name] = before
    return replace_layers(source, replace, maker), folded_into


def foldable_layer_before(graph: Graph, name: str) -> str | None:
    """Returns the layer that a batch normalisation can be folded into, by name.

    That is a linear convolution or dense layer whose output nothing else takes. None if there is
    no such layer, or if the named layer is no batch normalisation of the last axis.
    """
    layer = graph.operations[name]
    if type(layer).__name__ != "BatchNormalization" or not normalizes_last_axis(layer):
        return None
    producers = graph.producers[name]
    if graph.calls[name] != 1 or len(producers) != 1:
        return None
    before = producers[0]
    weighted = graph.operations[before]
    if type(weighted).__name__ not in FOLDABLE or graph.calls[before] != 1:
        return None
    if weighted.activation is not keras.activations.linear or graph.only_consumer(before) != name:
        return None
    return before


def normalizes_last_axis(layer: Any) -> bool:
    """Returns whether a batch normalisation has its channels on the last axis."""
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    return axis in (-1, len(layer.get_build_config()["input_shape"]) - 1)


def folded_layer(layer: Any, normalization: Any, maker: LayerMaker) -> Any:
    """Returns a new layer that does what a layer and the batch normalisation behind it do.

    Args:
        layer: one of `FOLDABLE`, linear.
        normalization: the batch normalisation behind it.
        maker: keeps the new layer's weights until it is built.
    """
    kernel, *bias = layer.get_weights()
    scale, offset = scale_and_offset(normalization)
    arrays = fold_weights(type(layer).__name__, kernel, bias[0] if bias else None, scale, offset)
    new = type(layer).from_config({**layer.get_config(), "use_bias": True})
    maker.set_weights(new, *arrays)
    return new


def fold_weights(
    kind: str, kernel: np.ndarray, bias: np.ndarray | None, scale: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel and bias of a layer with `scale * x + offset` behind it folded in.

    Args:
        kind: class name of the layer, one of `FOLDABLE`.
        kernel: the layer's.
        bias: the layer's, or None.
        scale: one value for each of the layer's output channels.
        offset: likewise.

    Returns:
        Two float32 arrays: the kernel in the shape that it had, and a bias for each channel.

    Reference:
        Jacob et al. 2018, arXiv:1712.05877, section 3.2, equation 14.
    """
    if kind == "Conv2DTranspose":  # (height, width, filters, channels)
        factors = scale[:, None]
    elif kind == "DepthwiseConv2D":  # (height, width, channels, multiplier)
        factors = scale.reshape(kernel.shape[2:])
    else:  # (..., filters)
        factors = scale
    shift = np.zeros_like(scale) if bias is None else np.asarray(bias, "float64")
    # Adding 0 makes negative zeros positive.
    return (kernel * factors).astype("float32") + 0.0, (shift * scale + offset).astype("float32")
