"""A model that TFMOT has trained, as a Keras 3 model of built-in layers and `FakeQuantize`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.bridge.built_in import free_name
from tfcompress.bridge.convert import copy_weights
from tfcompress.graph.rewrite import Graph, clone, rewrite
from tfcompress.layers.fake_quantize import FakeQuantize
from tfcompress.qat.layout import QuantSpec
from tfcompress.qat.parts import folded, normalization
from tfcompress.qat.prepare import feeding_product, ignoring_none


def to_fake_quantized(
    ready: keras.Model, places: dict[str, QuantSpec], trained: Any
) -> keras.Model:
    """The trained model's function in Keras 3.

    Kernels hold the rounded values; batch normalisations are folded into the convolutions before
    them, which leaves each filter on a grid of its own, only wider or narrower.

    Args:
        ready: the model as it was before TFMOT wrapped it.
        places: how its layers are quantised.
        trained: the tf_keras model of the same layers in TFMOT's wrappers.
    """
    source = clone(ready)
    graph = Graph.of(source)
    inner = {getattr(layer, "layer", layer).name: layer for layer in trained.layers}
    taken = {*graph.operations, *(x.name for x in source.inputs)}
    replace: dict[str, Callable[..., Any]] = {}
    weights: list[tuple[Any, list[np.ndarray]]] = []
    ranges: list[tuple[FakeQuantize, tuple[float, float]]] = []
    for name, layer in graph.operations.items():
        if type(layer).__name__ == "BatchNormalization":
            copy_weights(getattr(inner[name], "layer", inner[name]), layer)
    for name, layer in graph.operations.items():
        place = places[name]
        theirs = inner[name]
        new: Callable[..., Any] = layer
        kind = type(layer).__name__
        if place.kernel is not None:
            arrays = _rounded(theirs)
            behind = graph.only_consumer(name)
            if behind is not None and _folded(graph, behind):
                scale, offset = normalization(graph.operations[behind])
                arrays = list(folded(kind, arrays[0], (*arrays[1:], None)[0], scale, offset))
                new = type(layer).from_config({**layer.get_config(), "use_bias": True})
            weights.append((new, arrays))
        elif kind == "Identity" or _folded(graph, name):
            new = _same
        elif layer.weights:
            copy_weights(getattr(theirs, "layer", theirs), layer)
        if place.output != "none":
            own = name.removesuffix("_quantize") if kind == "Identity" else name
            fake = FakeQuantize(name=free_name(f"{own}_quantized", taken))
            taken.add(fake.name)
            ranges.append((fake, _range(theirs, place)))
            new = _chain(new, fake)
        if new is not layer:
            replace[name] = new
    result = rewrite(source, {name: ignoring_none(new) for name, new in replace.items()})
    for layer, arrays in weights:
        layer.set_weights(arrays)
    for fake, (low, high) in ranges:
        fake.low.assign(low)
        fake.high.assign(high)
        fake.minimum, fake.maximum = low, high
    return clone(result)


def _same(x: Any) -> Any:
    return x


def _chain(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: second(first(*args, **kwargs))


def _folded(graph: Graph, name: str) -> bool:
    """Whether a layer is a batch normalisation that goes into the product before it."""
    kind = type(graph.operations[name]).__name__
    return kind == "BatchNormalization" and feeding_product(graph, name) is not None


def _rounded(wrapper: Any) -> list[np.ndarray]:
    """Kernel and bias of a wrapped layer, the kernel on its grid."""
    ((kernel, quantizer, variables),) = wrapper._weight_vars
    arrays = [np.asarray(quantizer(kernel, False, variables))]
    if getattr(wrapper.layer, "use_bias", False):
        arrays.append(wrapper.layer.bias.numpy())
    return arrays


def _range(wrapper: Any, place: QuantSpec) -> tuple[float, float]:
    """The range behind a wrapped layer, with 0 in it."""
    if place.fixed is not None:
        return place.fixed
    variables = wrapper._output_quantizer_vars
    low, high = (float(variables[key].numpy()) for key in ("min_var", "max_var"))
    low = min(0.0, low)
    return low, max(0.0, high, low + 1e-6)
