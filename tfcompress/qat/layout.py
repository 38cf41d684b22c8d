"""Decides where a prepared model is quantised: which kernels, and behind which layers.

TFMOT's own layout goes by patterns, of which two lose accuracy without a word: a convolution
directly in front of a ReLU layer trains with float weights, and a depthwise kernel gets one scale
where the file has one for each channel. Here every layer gets its `QuantSpec` by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container
from typing import Any, Literal

import keras

from tfcompress.graph.fold_batch_norm import foldable_layer_before
from tfcompress.graph.rewrite import Graph
from tfcompress.qat.prepare import unsupported
from tfcompress.qat.rules import IDENTITIES

KERNELS = {
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "Dense": "kernel",
    "DepthwiseConv2D": "depthwise_kernel",
}
# Ops of the file that take a ReLU in.
_FUSING = (
    "Add",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Multiply",
    "Subtract",
)
# The file's integer ops give these grids, whatever is asked for: 256 steps from 0 or -1.
_FIXED = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}


@dataclasses.dataclass(frozen=True)
class QuantSpec:
    """Says how one layer is quantised.

    Attributes:
        kernel: the attribute that holds its kernel, or None to leave its weights float.
        output: how the range of its output is found: `none` (the output isn't rounded), `input`
            (the widest range ever seen), `range` (a moving average) or `fixed`.
        fixed_range: lowest and highest value, of `fixed`.
    """

    kernel: str | None = None
    output: Literal["none", "input", "range", "fixed"] = "none"
    fixed_range: tuple[float, float] | None = None


def layout(model: keras.Model) -> dict[str, QuantSpec]:
    """Returns the `QuantSpec` of every layer of a model that `prepare` made, by name."""
    graph = Graph.of(model)
    stays_float = unsupported(model)
    specs = {name: _spec(graph, name, stays_float) for name in graph.operations}
    kinds = {name: type(layer).__name__ for name, layer in graph.operations.items()}
    for name in graph.operations:
        if kinds[name] == "Concatenate":
            # Its inputs take over its grid, unless others need them too: no rounding on the way.
            for before in graph.producers[name]:
                alone = graph.only_consumer(before) == name
                if alone and specs[before].output == "range" and kinds[before] != "Identity":
                    specs[before] = dataclasses.replace(specs[before], output="none")
    return specs


def _spec(graph: Graph, name: str, stays_float: Container[str]) -> QuantSpec:
    """Returns how one layer is quantised, whatever is behind a `Concatenate`."""
    layer = graph.operations[name]
    kind = type(layer).__name__
    if name in stays_float:
        return QuantSpec()
    if kind == "Identity":
        producers = graph.producers[name]
        if not producers:
            return QuantSpec(output="input")
        return QuantSpec(output="range" if producers[0] in stays_float else "none")
    if kind in IDENTITIES:
        return QuantSpec()
    if kind in ("Activation", "Softmax"):
        activation = "softmax" if kind == "Softmax" else layer.activation.__name__
        if activation in _FIXED:
            return QuantSpec(output="fixed", fixed_range=_FIXED[activation])
    if kind == "UpSampling2D" and layer.interpolation == "nearest":
        return QuantSpec()
    kernel = KERNELS.get(kind)
    behind = graph.only_consumer(name) if graph.calls[name] == 1 else None
    if behind is not None and _is_fused_into(graph, behind, name):
        return QuantSpec(kernel)
    return QuantSpec(kernel, "range")


def _is_fused_into(graph: Graph, name: str, before: str) -> bool:
    """Returns whether a layer is part of the op of the layer before it in the file."""
    layer = graph.operations[name]
    if type(layer).__name__ == "BatchNormalization":
        return foldable_layer_before(graph, name) == before
    if type(layer).__name__ != "ReLU" or graph.calls[name] != 1:
        return False
    return type(graph.operations[before]).__name__ in _FUSING and _is_fusable(layer)


def _is_fusable(relu: Any) -> bool:
    """Returns whether the file's ops can end in this ReLU."""
    return relu.max_value in (None, 6.0) and not relu.negative_slope and not relu.threshold
