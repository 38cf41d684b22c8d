"""What techniques that only round a trained network have in common."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfcompress.config import Training
from tfcompress.graph import clone
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique

KEEPS = frozenset({Property.SPARSITY, Property.CLUSTERS, Property.BUCKETS})
# Layers with weights that aren't products.
_FOLDED = ("BatchNormalization",)
_OTHERS = ("PReLU", "LayerNormalization", "GroupNormalization", "Normalization", "FakeQuantize")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantiseOptions:
    """None: the file's weights are those of the network, rounded."""


def untrained(options: Any) -> Training:
    """Nothing is trained."""
    return Training(epochs=0)


def lines(model: keras.Model, how: str, depthwise: str | None = None) -> list[LayerLine]:
    """A line for each layer with weights.

    Args:
        model: the network, flat.
        how: what becomes of a product's weights.
        depthwise: what becomes of those of depthwise convolutions, if something else.
    """
    found = []
    for layer in model.layers:
        if not getattr(layer, "weights", None):
            continue
        kind = type(layer).__name__
        if kind in _FOLDED:
            line = LayerLine(layer.name, kind, "kept", "folded into a convolution where it can be")
        elif kind in _OTHERS:
            line = LayerLine(layer.name, kind, "kept", "no convolution or dense layer")
        else:
            reason = depthwise if depthwise and kind == "DepthwiseConv2D" else how
            line = LayerLine(layer.name, kind, "quantised", reason)
        found.append(line)
    return found


def technique(
    name: str, summary: str, reference: str, how: str, depthwise: str | None = None
) -> Technique:
    """A technique that is all in how the file is written.

    Args:
        name: its name and its storage's.
        summary: for `--list`.
        reference: authors, year, arXiv id.
        how: as `lines` takes it.
        depthwise: as `lines` takes it.
    """

    def transform(candidate: Candidate, options: QuantiseOptions) -> Candidate:
        model = clone(candidate.model)
        return candidate.then(model, *lines(model, how, depthwise))

    return Technique(
        name=name,
        summary=summary,
        reference=reference,
        options=QuantiseOptions,
        transform=transform,
        training=untrained,
        storage=name,
        produces=frozenset({Property.QUANTISED}),
        preserves=KEEPS,
    )
