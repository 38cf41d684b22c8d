"""Finds the ranges that activations have before the first step of quantization-aware training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from tfcompress.graph.nodes import input_structure, nodes
from tfcompress.qat.layout import QuantSpec
from tfcompress.training.evaluate import jit_compile

# Examples at a time.
BATCH = 64
# An empty range would make the grid's step 0.
_SMALLEST_RANGE = 1e-6
# Of a layer's outputs the lowest and the highest values, one of each for every batch.
Extremes = tuple[np.ndarray, np.ndarray]


def measured(specs: Mapping[str, QuantSpec]) -> list[str]:
    """Returns the names of the layers whose outputs have ranges that must be measured."""
    return [name for name, spec in specs.items() if spec.output in ("range", "input")]


def ranges(
    specs: Mapping[str, QuantSpec], extremes: Mapping[str, Extremes]
) -> dict[str, tuple[float, float]]:
    """Returns the ranges, with 0 in them, that layers' outputs have by some batches.

    They are means over the batches, to which TFMOT's moving averages would come in some thousand
    steps; inputs get the extremes of all.

    Args:
        specs: how the layers are quantised, by name.
        extremes: of each layer that is `measured`.
    """
    result = {}
    for name, (lows, highs) in extremes.items():
        is_input = specs[name].output == "input"
        result[name] = with_zero(
            float(lows.min() if is_input else lows.mean()),
            float(highs.max() if is_input else highs.mean()),
        )
    return result


def with_zero(low: float, high: float) -> tuple[float, float]:
    """Returns a range that has 0 in it and isn't empty."""
    low = min(0.0, low)
    return low, max(0.0, high, low + _SMALLEST_RANGE)


def extremes(model: keras.Model, names: Iterable[str], inputs: Any) -> dict[str, Extremes]:
    """Returns the lowest and highest values of layers' outputs at inference.

    Args:
        model: functional, of Keras 3.
        names: of its layers.
        inputs: arrays (examples, ...) in the structure that the model takes.
    """
    names = list(names)
    outputs = [
        [x for node in nodes(model) if node.operation.name == name for x in node.outputs]
        for name in names
    ]
    ends = [[ops.stack([end(x) for x in xs]) for end in (ops.min, ops.max)] for xs in outputs]
    watcher = keras.Model(input_structure(model), ends)
    watcher.compile(jit_compile=jit_compile())
    examples = len(tree.flatten(inputs)[0])
    batches = [
        watcher.predict_on_batch(tree.map_structure(lambda x, i=i: x[i : i + BATCH], inputs))
        for i in range(0, examples, BATCH)
    ]
    result = {}
    for number, name in enumerate(names):
        lows, highs = zip(*(batch[number] for batch in batches), strict=True)
        result[name] = np.min(lows, 1), np.max(highs, 1)  # Of (batches, calls).
    return result
