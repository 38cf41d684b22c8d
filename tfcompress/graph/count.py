"""Parameters and multiply-accumulates of a Keras model, counted from its graph."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
from keras import layers
from tabulate import tabulate

from tfcompress.graph.rewrite import _nested, nodes


@dataclasses.dataclass(frozen=True)
class LayerCount:
    """What one call of one layer costs.

    Attributes:
        name: the layer's.
        kind: the layer's class name.
        output_shape: of its first output, with the batch as None.
        parameters: weights that training changes, frozen or not; a shared layer's count at its
            first call only.
        macs: multiply-accumulates for one image; 0 for layers without weights to multiply by.
        bits: bits that a weight of its kernel carries: 32, or 1 where it is binary.
        kib: KiB of the parameters, the kernel's at `bits` each and the rest at 32, and of a
            binary kernel's scales; what a file really holds is for `export` to say.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    macs: int
    bits: int
    kib: float


def count(model: keras.Model) -> list[LayerCount]:
    """One entry for each call of a layer, nested models' layers included.

    Dimensions that aren't static count as 1.
    """
    rows: list[LayerCount] = []
    _count(model, rows, set())
    return rows


def _count(model: keras.Model, rows: list[LayerCount], seen: set[int]) -> None:
    for node in nodes(model):
        layer = node.operation
        if _nested(layer):
            _count(layer, rows, seen)
        elif isinstance(layer, layers.Layer):
            size = 0 if id(layer) in seen else _size(_trained(layer))
            bits = 1 if getattr(layer, "binarize_kernel", False) else 32
            stored = size * 32
            if size and bits == 1:
                stored -= _size([layer.kernel]) * 31
                stored += layer.kernel.shape[-1] * 32
            seen.add(id(layer))
            rows.append(
                LayerCount(
                    name=layer.name,
                    kind=type(layer).__name__,
                    output_shape=tuple(node.outputs[0].shape),
                    parameters=size,
                    macs=_macs(layer, node.input_tensors[0].shape, node.outputs[0].shape),
                    bits=bits,
                    kib=stored / 8 / 1024,
                )
            )


def _trained(layer: layers.Layer) -> list[Any]:
    """The weights that training changes; `trainable_variables` would leave out frozen ones."""
    own = list(layer._trainable_variables)
    return own + [v for inner in layer._layers for v in _trained(inner)]


def _size(variables: Any) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _macs(layer: layers.Layer, input_shape: Any, output_shape: Any) -> int:
    """Multiply-accumulates of one call for one image; additions of biases aren't counted."""

    def product(shape: Any) -> int:
        return math.prod(size or 1 for size in shape)

    # Every weight of a convolution's kernel is used once for each output position.
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        positions = product(output_shape[1:-1])
        return positions * _size([layer.depthwise_kernel, layer.pointwise_kernel])
    if isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose):
        return product(input_shape[1:-1]) * _size([layer.kernel])
    if isinstance(
        layer,
        layers.Conv1D
        | layers.Conv2D
        | layers.Conv3D
        | layers.DepthwiseConv1D
        | layers.DepthwiseConv2D,
    ):
        return product(output_shape[1:-1]) * _size([layer.kernel])
    if isinstance(layer, layers.Dense):
        return product(input_shape[1:-1]) * _size([layer.kernel])
    return 0


def parameters(model: keras.Model) -> int:
    """Weights that training changes: of batch normalisation gamma and beta, not the statistics."""
    return sum(row.parameters for row in count(model))


def macs(model: keras.Model) -> int:
    """Multiply-accumulates for one image, in convolutions and dense layers."""
    return sum(row.macs for row in count(model))


def summary(model: keras.Model) -> str:
    """A table of the model's layers: shape, parameters, MACs, bits a weight, KiB.

    KiB are on paper, as `LayerCount.kib` has them; the bytes of a file are in its report.
    """
    rows = count(model)
    table = [
        (
            row.name,
            row.kind,
            "x".join("?" if size is None else str(size) for size in row.output_shape[1:]),
            f"{row.parameters:,}",
            f"{row.macs:,}",
            row.bits if row.parameters else "",
            f"{row.kib:,.1f}" if row.parameters else "",
        )
        for row in rows
    ]
    table.append(
        (
            "total",
            "",
            "",
            f"{sum(row.parameters for row in rows):,}",
            f"{sum(row.macs for row in rows):,}",
            "",
            f"{sum(row.kib for row in rows):,.1f}",
        )
    )
    headers = ("layer", "kind", "output", "parameters", "MACs", "bits", "KiB")
    return tabulate(table, headers, disable_numparse=True, colalign=("left",) * 3 + ("right",) * 4)
