"""Brings a model that TFMOT has trained back to Keras 3, with `FakeQuantize` layers in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.bridge.convert import copy_weights
from tfcompress.graph.batch_norm import scale_and_offset
from tfcompress.graph.fold_batch_norm import fold_weights, foldable_layer_before
from tfcompress.graph.layer_maker import LayerMaker, replace_layers
from tfcompress.graph.rewrite import Graph, clone
from tfcompress.layers.fake_quantize import FakeQuantize
from tfcompress.qat.calibrate import with_zero
from tfcompress.qat.layout import QuantSpec


def to_fake_quantized(
    prepared: keras.Model, specs: dict[str, QuantSpec], trained: Any
) -> keras.Model:
    """Returns a Keras 3 model that computes what the trained model computes.

    Kernels hold the rounded values. Batch normalisations are folded into the convolutions before
    them, which leaves each filter on a grid of its own, only wider or narrower.

    Args:
        prepared: the Keras 3 model as it was before TFMOT wrapped it.
        specs: how its layers are quantised, by name.
        trained: the tf_keras model of the same layers in TFMOT's wrappers.
    """
    source = clone(prepared)
    graph = Graph.of(source)
    wrappers = {_unwrapped(layer).name: layer for layer in trained.layers}
    for name, layer in graph.operations.items():
        if specs[name].kernel is None and layer.weights:
            copy_weights(_unwrapped(wrappers[name]), layer)
    maker = LayerMaker(source)
    replace: dict[str, Callable[..., Any]] = {}
    for name, layer in graph.operations.items():
        spec = specs[name]
        function: Callable[..., Any] = layer
        is_marker = type(layer).__name__ == "Identity"
        if spec.kernel is not None:
            function = _rounded_layer(graph, name, wrappers[name], maker)
        elif is_marker or foldable_layer_before(graph, name) is not None:
            function = _unchanged
        if spec.output != "none":
            low, high = _range(wrappers[name], spec)
            owner = name.removesuffix("_quantize") if is_marker else name
            fake = maker.layer(owner, "quantized", FakeQuantize, minimum=low, maximum=high)
            function = _chain(function, fake)
        if function is not layer:
            replace[name] = function
    return replace_layers(source, replace, maker)


def _unwrapped(layer: Any) -> Any:
    """Returns the layer inside one of TFMOT's wrappers, or the layer itself."""
    return getattr(layer, "layer", layer)


def _unchanged(x: Any) -> Any:
    return x


def _chain(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: second(first(*args, **kwargs))


def _rounded_layer(graph: Graph, name: str, wrapper: Any, maker: LayerMaker) -> Any:
    """Returns the layer with its rounded kernel, and the normalisation behind it folded in."""
    layer = graph.operations[name]
    kernel, bias = _rounded_weights(wrapper)
    behind = graph.only_consumer(name)
    if behind is None or foldable_layer_before(graph, behind) != name:
        maker.set_weights(layer, kernel, *([] if bias is None else [bias]))
        return layer
    scale, offset = scale_and_offset(graph.operations[behind])
    new = type(layer).from_config({**layer.get_config(), "use_bias": True})
    maker.set_weights(new, *fold_weights(type(layer).__name__, kernel, bias, scale, offset))
    return new


def _rounded_weights(wrapper: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns kernel and bias of a wrapped layer, the kernel on its 8-bit grid."""
    ((kernel, quantizer, variables),) = wrapper._weight_vars
    bias = wrapper.layer.bias.numpy() if getattr(wrapper.layer, "use_bias", False) else None
    return np.asarray(quantizer(kernel, False, variables)), bias


def _range(wrapper: Any, spec: QuantSpec) -> tuple[float, float]:
    """Returns the range of a wrapped layer's output, with 0 in it."""
    if spec.fixed_range is not None:
        return spec.fixed_range
    variables = wrapper._output_quantizer_vars
    return with_zero(*(float(variables[key].numpy()) for key in ("min_var", "max_var")))
