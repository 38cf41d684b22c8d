"""Counts parameters and multiply-accumulates of a Keras model from its graph."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
from keras import layers, tree

from tfcompress.console import table
from tfcompress.graph.layer_macs import layer_macs, sizes
from tfcompress.graph.rewrite import fresh_inputs, run

# Characters in a line of the table.
WIDTH = 120


@dataclasses.dataclass(frozen=True)
class LayerCount:
    """Holds what one call of one layer costs.

    Attributes:
        name: the layer's.
        kind: the layer's class name.
        output_shape: of its first output, with the batch as None.
        parameters: weights that training changes and a `.keras` file stores, frozen or not; a
            shared layer's count at its first call only.
        logical_parameters: the parameters of the built-in layer that a hashed or factorised layer
            stands for; for all others `parameters`.
        macs: multiply-accumulates for one example in a convolution, a dense, a recurrent or an
            attention layer; 0 for others, also for custom layers without a method `macs`.
        bits: bits that a weight of its kernel carries: 32, or 1 where it is binary.
        kib: KiB of the parameters, the kernel's at `bits` each and the rest at 32, and of a
            binary kernel's scales; an exported file may hold more or less.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    logical_parameters: int
    macs: int
    bits: int
    kib: float


def count(model: keras.Model) -> list[LayerCount]:
    """Returns one entry for each call of a layer, nested models' layers included.

    A nested model's layers have the shapes of its call, not those that it was made with.
    Dimensions that aren't static count as 1.
    """
    rows: list[LayerCount] = []
    seen: set[int] = set()

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation.compute_output_spec(*args, **kwargs)
        if isinstance(operation, layers.Layer):
            taken = [x.shape for x in tree.flatten((args, kwargs)) if hasattr(x, "shape")]
            output_shape = tree.flatten(outputs)[0].shape
            rows.append(_row(operation, taken, output_shape, id(operation) in seen))
            seen.add(id(operation))
        return outputs

    run(model, fresh_inputs(model), apply)
    return rows


def _row(layer: layers.Layer, taken: list[Any], output_shape: Any, again: bool) -> LayerCount:
    """Counts one call; `again` if there was one before it."""
    parts = [] if again else _parts(layer)
    size = sum(sizes(part._trainable_variables) for part in parts)
    bits = 1 if getattr(layer, "binarize_kernel", False) else 32
    stored = size * 32
    if size and bits == 1:
        stored -= sizes([layer.kernel]) * 31
        stored += layer.kernel.shape[-1] * 32
    return LayerCount(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=tuple(output_shape),
        parameters=size,
        logical_parameters=sum(_logical(part) for part in parts),
        macs=layer_macs(layer, taken, output_shape),
        bits=bits,
        kib=stored / 8 / 1024,
    )


def _parts(layer: layers.Layer) -> list[layers.Layer]:
    """Returns the layer and those within it."""
    return [layer, *(part for inner in layer._layers for part in _parts(inner))]


def _logical(layer: layers.Layer) -> int:
    """Counts the weights of the layer that one stands for, without those of layers within it."""
    if not hasattr(layer, "logical_shape"):
        # Not `trainable_variables`, which would leave out frozen ones.
        return sizes(layer._trainable_variables)
    shape = layer.logical_shape()
    return math.prod(shape) + (shape[-1] if layer.use_bias else 0)


def parameters(model: keras.Model) -> int:
    """Counts the weights that training changes: gamma and beta of BN, not its statistics."""
    return sum(row.parameters for row in count(model))


def macs(model: keras.Model) -> int:
    """Counts multiply-accumulates for one example, as `LayerCount.macs` has them."""
    return sum(row.macs for row in count(model))


def summary(model: keras.Model) -> str:
    """Returns a table of the model's layers: shape, parameters, MACs, bits a weight, KiB.

    "parameters" are those that are stored, "logical" those of the built-in layer that a hashed or
    factorised one stands for. KiB are computed, as `LayerCount.kib` has them; the bytes of a file
    are in its report. A line has at most about 120 characters: long names are wrapped.
    """
    rows = count(model)
    lines = [
        (
            row.name,
            row.kind,
            "x".join("?" if size is None else str(size) for size in row.output_shape[1:]),
            f"{row.parameters:,}",
            f"{row.logical_parameters:,}",
            f"{row.macs:,}",
            row.bits if row.parameters else "",
            f"{row.kib:,.1f}" if row.parameters else "",
        )
        for row in rows
    ]
    lines.append(
        (
            "total",
            "",
            "",
            f"{sum(row.parameters for row in rows):,}",
            f"{sum(row.logical_parameters for row in rows):,}",
            f"{sum(row.macs for row in rows):,}",
            "",
            f"{sum(row.kib for row in rows):,.1f}",
        )
    )
    headers = ("layer", "kind", "output", "parameters", "logical", "MACs", "bits", "KiB")
    return table(lines, headers, words=3, width=WIDTH)
