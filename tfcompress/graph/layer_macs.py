"""Counts the multiply-accumulates of one call of a built-in layer, from its shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from keras import layers

Shape = tuple[int | None, ...]

# Of these every weight of the kernel is used once for each output position.
_CONVOLUTIONS = (
    layers.Conv1D | layers.Conv2D | layers.Conv3D | layers.DepthwiseConv1D | layers.DepthwiseConv2D
)
_TRANSPOSED = layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose


def layer_macs(layer: layers.Layer, inputs: Sequence[Shape], output: Shape) -> int:
    """Counts multiply-accumulates of one call for one example, without the biases' additions.

    Args:
        layer: built; one of ours counts itself.
        inputs: shapes of what it is called with. Sizes that are None count as 1.
        output: shape of its first output.

    Returns:
        The products in convolutions, dense, recurrent and attention layers; 0 for other layers.
    """
    first = inputs[0]

    def positions(shape: Shape) -> int:
        channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
        return _product(shape[2:] if channels_first else shape[1:-1])

    if hasattr(layer, "macs"):
        return layer.macs(first, output)
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        return positions(output) * sizes([layer.depthwise_kernel, layer.pointwise_kernel])
    if isinstance(layer, _TRANSPOSED):
        return positions(first) * sizes([layer.kernel])
    if isinstance(layer, _CONVOLUTIONS):
        return positions(output) * sizes([layer.kernel])
    if isinstance(layer, layers.Dense):
        return positions(first) * sizes([layer.kernel])
    if isinstance(layer, layers.EinsumDense):
        return _of_einsum(layer, first)
    if isinstance(layer, layers.MultiHeadAttention):
        return _of_attention(layer, first, inputs[1] if len(inputs) > 1 else first)
    if isinstance(layer, layers.Bidirectional):
        both = (layer.forward_layer, layer.backward_layer)
        return sum(layer_macs(one, [first], output) for one in both)
    if isinstance(layer, layers.TimeDistributed):
        step = [(shape[0], *shape[2:]) for shape in (first, output)]
        return (first[1] or 1) * layer_macs(layer.layer, step[:1], step[1])
    if isinstance(layer, layers.Wrapper):
        return layer_macs(layer.layer, inputs, output)
    if isinstance(layer, layers.RNN):
        return (first[1] or 1) * _of_a_step(layer.cell, output)
    return 0


def sizes(variables: Iterable[Any]) -> int:
    """Counts the values in some variables."""
    return sum(math.prod(variable.shape) for variable in variables)


def _product(shape: Sequence[int | None]) -> int:
    return math.prod(size or 1 for size in shape)


def _of_einsum(layer: layers.EinsumDense, shape: Shape) -> int:
    """Counts a kernel's weights for each position of the axes that it doesn't have."""
    taken, kernel = layer.equation.replace(" ", "").split("->")[0].split(",")
    dots = "".join(map(str, range(len(shape) - len(taken.replace("...", "")))))
    letters = taken.replace("...", dots)
    free = [size for letter, size in zip(letters, shape, strict=True) if letter not in kernel]
    return _product(free[1:]) * sizes([layer.kernel])


def _of_attention(layer: layers.MultiHeadAttention, query: Shape, value: Shape) -> int:
    """Counts the four projections, and the products of queries with keys and of scores."""
    asked, answered = _product(query[1:-1]), _product(value[1:-1])
    projections = asked * sizes([layer.query_dense.kernel, layer.output_dense.kernel])
    projections += answered * sizes([layer.key_dense.kernel, layer.value_dense.kernel])
    return projections + attention_products(layer, query, value)


def attention_products(layer: layers.MultiHeadAttention, query: Shape, value: Shape) -> int:
    """Counts the products of queries with keys and of scores with values: each head has its own.

    Args:
        layer: built.
        query: shape of the queries.
        value: shape of the values.
    """
    depth = layer.num_heads * (layer.key_dim + layer.value_dim)
    attended = _product([value[axis] for axis in layer.attention_axes])
    return _product(query[1:-1]) * attended * depth


def _of_a_step(cell: Any, output: Shape) -> int:
    """Counts the weights of a recurrent cell, or of several, that are used in each step."""
    if hasattr(cell, "cells"):
        return sum(_of_a_step(one, output) for one in cell.cells)
    # A GRU's bias has two axes.
    kernels = [weight for weight in cell.variables if weight.name != "bias"]
    weights = sizes(kernel for kernel in kernels if len(kernel.shape) > 1)
    kernel_size = getattr(cell, "kernel_size", ())
    if not kernel_size:
        return weights
    ends = slice(-len(kernel_size), None)
    if cell.data_format == "channels_last":
        ends = slice(-len(kernel_size) - 1, -1)
    return _product(output[ends]) * weights
