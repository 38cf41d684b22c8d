"""Reads once what storages must know of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras

from tfcompress.export.storage import ModelTraits
from tfcompress.graph.rewrite import operations
from tfcompress.layers.fake_quantize import FakeQuantize
from tfcompress.layers.learned_step_weights import LearnedStepWeights
from tfcompress.layers.min_max_quantize import MinMaxQuantize
from tfcompress.layers.ternary_weights import TernaryWeights
from tfcompress.ops.hashing import ElementwiseHash


def traits_of(model: keras.Model) -> ModelTraits:
    """Returns a model's traits, from its layers alone."""
    layers = list(operations(model))
    binary = (layer.name for layer in layers if getattr(layer, "binarize_inputs", False))
    return ModelTraits(
        binary_inputs=next(binary, None),
        hashed=any(True for _ in hashed_layers(layers)),
        trained_ranges=any(isinstance(layer, FakeQuantize) for layer in layers),
        few_bits=any(isinstance(layer, (LearnedStepWeights, TernaryWeights)) for layer in layers),
        simulated=any(isinstance(layer, MinMaxQuantize) for layer in layers),
    )


def hashed_layers(layers: Iterable[Any]) -> Iterator[Any]:
    """Yields the layers whose kernels are hashed element by element."""
    for layer in layers:
        if isinstance(getattr(layer, "positions", None), ElementwiseHash):
            yield layer
