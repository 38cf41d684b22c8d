"""Counts parameters and multiply-accumulates of a Keras model from its graph."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
from keras import layers, tree

from tfcompress.console import table
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
        macs: multiply-accumulates for one image in a convolution or dense layer; 0 for others,
            also for recurrent and attention layers.
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
            first_input, first_output = tree.flatten((args, kwargs))[0], tree.flatten(outputs)[0]
            rows.append(
                _row(operation, first_input.shape, first_output.shape, id(operation) in seen)
            )
            seen.add(id(operation))
        return outputs

    run(model, fresh_inputs(model), apply)
    return rows


def _row(layer: layers.Layer, input_shape: Any, output_shape: Any, again: bool) -> LayerCount:
    """Counts one call; `again` if there was one before it."""
    parts = [] if again else _parts(layer)
    size = sum(_size(part._trainable_variables) for part in parts)
    bits = 1 if getattr(layer, "binarize_kernel", False) else 32
    stored = size * 32
    if size and bits == 1:
        stored -= _size([layer.kernel]) * 31
        stored += layer.kernel.shape[-1] * 32
    return LayerCount(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=tuple(output_shape),
        parameters=size,
        logical_parameters=sum(_logical(part) for part in parts),
        macs=_macs(layer, input_shape, output_shape),
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
        return _size(layer._trainable_variables)
    shape = layer.logical_shape()
    return math.prod(shape) + (shape[-1] if layer.use_bias else 0)


def _size(variables: Any) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _macs(layer: layers.Layer, input_shape: Any, output_shape: Any) -> int:
    """Counts multiply-accumulates of one call for one image, without the biases' additions."""

    def positions(shape: Any) -> int:
        first = getattr(layer, "data_format", "channels_last") == "channels_first"
        return math.prod(size or 1 for size in (shape[2:] if first else shape[1:-1]))

    if hasattr(layer, "macs"):  # Our own layers count themselves.
        return layer.macs(input_shape, output_shape)
    # Every weight of a convolution's kernel is used once for each output position.
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        return positions(output_shape) * _size([layer.depthwise_kernel, layer.pointwise_kernel])
    if isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose):
        return positions(input_shape) * _size([layer.kernel])
    if isinstance(
        layer,
        layers.Conv1D
        | layers.Conv2D
        | layers.Conv3D
        | layers.DepthwiseConv1D
        | layers.DepthwiseConv2D,
    ):
        return positions(output_shape) * _size([layer.kernel])
    if isinstance(layer, layers.Dense):
        return positions(input_shape) * _size([layer.kernel])
    return 0


def parameters(model: keras.Model) -> int:
    """Counts the weights that training changes: gamma and beta of BN, not its statistics."""
    return sum(row.parameters for row in count(model))


def macs(model: keras.Model) -> int:
    """Counts multiply-accumulates for one image, in convolutions and dense layers."""
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
