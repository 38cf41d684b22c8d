"""Where a ready model is quantised: which kernels, and behind which layers.

TFMOT's own layout goes by patterns, of which two were measured to lose silently: a convolution
directly in front of a ReLU layer trains with float weights, and a depthwise kernel gets one scale
where the file has one for each channel. Here every layer's place is decided by name.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfcompress.graph.rewrite import Graph
from tfcompress.qat.prepare import feeding_product, unsupported
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
    """How one layer is quantised.

    Attributes:
        kernel: the attribute that holds its kernel, or None.
        output: `none`, `input` (widest range ever seen), `range` (moving average) or `fixed`.
        fixed: the range, if it is.
    """

    kernel: str | None = None
    output: str = "none"
    fixed: tuple[float, float] | None = None


def layout(model: keras.Model) -> dict[str, QuantSpec]:
    """The place of every layer of a model that `ready` made, by name."""
    graph = Graph.of(model)
    islands = unsupported(model)
    places = {name: _spec(graph, name, islands) for name in graph.operations}
    kinds = {name: type(layer).__name__ for name, layer in graph.operations.items()}
    for name in graph.operations:
        if kinds[name] == "Concatenate":
            # Its inputs take over its grid, unless others need them too: no rounding on the way.
            for before in graph.producers[name]:
                alone = graph.only_consumer(before) == name
                if alone and places[before].output == "range" and kinds[before] != "Identity":
                    places[before] = dataclasses.replace(places[before], output="none")
    return places


def _spec(graph: Graph, name: str, islands: dict[str, str]) -> QuantSpec:
    layer = graph.operations[name]
    kind = type(layer).__name__
    if name in islands:
        return QuantSpec()
    if kind == "Identity":
        producers = graph.producers[name]
        if not producers:
            return QuantSpec(output="input")
        return QuantSpec(output="range" if producers[0] in islands else "none")
    if kind in IDENTITIES:
        return QuantSpec()
    if kind in ("Activation", "Softmax"):
        what = "softmax" if kind == "Softmax" else layer.activation.__name__
        if what in _FIXED:
            return QuantSpec(output="fixed", fixed=_FIXED[what])
    if kind == "UpSampling2D" and layer.interpolation == "nearest":
        return QuantSpec()
    kernel = KERNELS.get(kind)
    behind = graph.only_consumer(name) if graph.calls[name] == 1 else None
    if behind is not None and _swallowed(graph, name, behind):
        return QuantSpec(kernel)
    return QuantSpec(kernel, "range")


def _swallowed(graph: Graph, name: str, behind: str) -> bool:
    """Whether the op of the layer behind is part of this one's in the file."""
    layer = graph.operations[behind]
    kind = type(layer).__name__
    if kind == "BatchNormalization":
        return feeding_product(graph, behind) == name
    if kind != "ReLU" or type(graph.operations[name]).__name__ not in _FUSING:
        return False
    return graph.calls[behind] == 1 and _fusable(layer)


def _fusable(relu: Any) -> bool:
    return relu.max_value in (None, 6.0) and not relu.negative_slope and not relu.threshold
