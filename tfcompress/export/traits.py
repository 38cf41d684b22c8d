"""Reads once what storages must know of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras

from tfcompress.export.storage import ModelTraits
from tfcompress.graph.rewrite import operations
from tfcompress.layers.fake_quantize import FakeQuantize
from tfcompress.layers.min_max_quantize import MinMaxQuantize
from tfcompress.ops.hashing import ElementwiseHash


def traits_of(model: keras.Model) -> ModelTraits:
    """Returns a model's traits, from its layers alone."""
    layers = list(operations(model))
    binary = next((each.name for each in layers if getattr(each, "binarize_inputs", False)), None)
    rounding = any(isinstance(layer, FakeQuantize) for layer in layers)
    return ModelTraits(
        binary_inputs=binary,
        input_levels=any(getattr(each, "input_bits", 1) == 2 for each in layers),
        hashed=any(True for _ in hashed_layers(layers)),
        trained_ranges=rounding and binary is None,
        few_bits=any(getattr(layer, "few_bits", False) for layer in layers),
        simulated=any(isinstance(layer, MinMaxQuantize) for layer in layers),
    )


def hashed_layers(layers: Iterable[Any]) -> Iterator[Any]:
    """Yields the layers whose kernels are hashed element by element."""
    for layer in layers:
        if isinstance(getattr(layer, "positions", None), ElementwiseHash):
            yield layer
