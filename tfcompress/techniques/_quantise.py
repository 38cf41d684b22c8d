"""What the techniques share that only round a trained network."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.config import Training
from tfcompress.deferred import keras
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique

# What rounding leaves as it is.
PRESERVES = frozenset({Property.SPARSITY, Property.CLUSTERS, Property.BUCKETS})
# Layers whose weights aren't those of a convolution or dense layer.
_FOLDED = ("BatchNormalization",)
_OTHERS = ("PReLU", "LayerNormalization", "GroupNormalization", "Normalization", "FakeQuantize")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantiseOptions:
    """None: the file's weights are those of the network, rounded."""


def untrained(options: Any) -> Training:
    """Trains nothing."""
    return Training(epochs=0)


def lines(model: keras.Model, reason: str, depthwise_reason: str | None = None) -> list[LayerLine]:
    """Returns a line of the report for each layer with weights.

    Args:
        model: the network, flat.
        reason: what becomes of the weights of convolutions and dense layers.
        depthwise_reason: what becomes of those of depthwise convolutions, if something else.
    """
    result = []
    for layer in model.layers:
        if not getattr(layer, "weights", None):
            continue
        kind = type(layer).__name__
        if kind in _FOLDED:
            line = LayerLine(layer.name, kind, "kept", "folded into a convolution where it can be")
        elif kind in _OTHERS:
            line = LayerLine(layer.name, kind, "kept", "no convolution or dense layer")
        else:
            depthwise = depthwise_reason if kind == "DepthwiseConv2D" else None
            line = LayerLine(layer.name, kind, "quantised", depthwise or reason)
        result.append(line)
    return result


def technique(
    name: str, summary: str, reference: str, reason: str, depthwise_reason: str | None = None
) -> Technique:
    """Makes a technique that changes nothing but the way the file is written.

    Args:
        name: its name and its storage's.
        summary: for `--list`.
        reference: authors, year, arXiv id.
        reason: what becomes of a layer's weights, as `lines` takes it.
        depthwise_reason: as `lines` takes it.
    """

    def transform(candidate: Candidate, options: QuantiseOptions) -> Candidate:
        from tfcompress.graph import clone

        model = clone(candidate.model)
        return candidate.then(model, *lines(model, reason, depthwise_reason))

    return Technique(
        name=name,
        summary=summary,
        reference=reference,
        options=QuantiseOptions,
        transform=transform,
        training=untrained,
        storages=(name,),
        produces=frozenset({Property.QUANTISED}),
        preserves=PRESERVES,
        acts_in="export",
    )
