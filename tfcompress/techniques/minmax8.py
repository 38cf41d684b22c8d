"""8 bits between minimum and maximum, simulated in floats: what it costs in accuracy."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.deferred import keras
from tfcompress.errors import InputError, require
from tfcompress.techniques._quantise import untrained
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique

# Classes of `keras.layers`, but not their subclasses: ours make their kernels otherwise.
_PRODUCTS = (
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "Dense", "EinsumDense"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinMaxOptions:
    """How fine the levels are.

    Attributes:
        bits: of weights and activations: `2^bits` levels each. The study's 8.
    """

    bits: int = 8

    def __post_init__(self) -> None:
        """Refuses what the layer would."""
        require(2 <= self.bits <= 16, f"option bits must be from 2 to 16; got {self.bits}")


def _transform(candidate: Candidate, options: MinMaxOptions) -> Candidate:
    """Rounds the kernels of built-in layers, and what goes into them as the network runs."""
    from tfcompress.graph import clone, rewrite
    from tfcompress.graph.equivalents import SEPARABLE, with_equivalents
    from tfcompress.graph.nodes import operations
    from tfcompress.layers import MinMaxQuantize
    from tfcompress.ops.minmax import minmax_quantize

    products = [getattr(keras.layers, name) for name in _PRODUCTS]
    model, _ = with_equivalents(clone(candidate.model), SEPARABLE)
    lines = []
    replace: dict[str, Any] = {}
    seen: set[str] = set()
    for layer in operations(model):
        if layer.name in seen or not getattr(layer, "weights", None):
            continue
        seen.add(layer.name)
        kind = type(layer).__name__
        if type(layer) in products:
            kernel = layer.kernel
            kernel.assign(minmax_quantize(keras.ops.convert_to_tensor(kernel), options.bits))
            replace[layer.name] = _behind(
                MinMaxQuantize(options.bits, name=f"{layer.name}_levels"), layer
            )
            reason = f"{2**options.bits} levels for the kernel, as many for its inputs; in floats"
            lines.append(LayerLine(layer.name, kind, "quantised", reason))
        else:
            reason = "no convolution or dense layer of Keras's own"
            lines.append(LayerLine(layer.name, kind, "kept", reason))
    if not replace:
        raise InputError(
            f"no layer of model '{candidate.model.name}' can be quantised: minmax8 takes Keras's "
            "own convolutions and dense layers"
        )
    return candidate.then(rewrite(model, replace), *lines)


def _behind(first: keras.layers.Layer, layer: keras.layers.Layer) -> Any:
    """Returns both layers as one function; all calls of a shared layer share the first, too."""

    def apply(*args: Any, **kwargs: Any) -> Any:
        inputs, *rest = args
        return layer(first(inputs), *rest, **kwargs)

    return apply


TECHNIQUE = Technique(
    name="minmax8",
    summary="8-bit min/max levels for weights and activations, simulated: the file is no smaller",
    reference="Lagrange and Pedersoli's 8-bit VGG-16; Vanhoucke, Senior, Mao 2011, Improving the "
    "speed of neural networks on CPUs",
    options=MinMaxOptions,
    transform=_transform,
    check=_transform,
    training=untrained,
    storages=("float32",),
    produces=frozenset({Property.QUANTISED}),
    preserves=frozenset({Property.BUCKETS}),
)
