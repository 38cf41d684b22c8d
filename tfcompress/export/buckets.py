"""Stores element-wise hashed weights as their buckets, which the first run expands.

A graph of its own computes the hash of every place (`ops.hashing.hash_indices`), looks up the
bucket and its sign, and assigns the result to a variable; CALL_ONCE runs it, and each inference
reads the variable. None of this can happen as the file is loaded, like the unpacking of bits
(`storages.one_bit`): the interpreter keeps results of constant additions and shifts for no op.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import keras
import numpy as np

from tfcompress.export import folded, im2col
from tfcompress.export.traits import hashed_layers
from tfcompress.graph.rewrite import operations
from tfcompress.ops import hashing
from tfcompress.tflite.editor import Editor

# A file counts places in 32-bit integers.
_MOST = 2**31 - 1
# What the ops of one expansion, and those around an op with its weights, take in the file: 3800
# to 4700.
_OPS_BYTES = 4800


@dataclasses.dataclass(frozen=True)
class Buckets:
    """The stored weights of a layer, and where they stand.

    Attributes:
        weights: float32 (buckets,).
        positions: of the matrix (inputs, filters).
    """

    weights: np.ndarray
    positions: hashing.ElementwiseHash

    @property
    def matrix(self) -> np.ndarray:
        """The expanded weights: float32 (filters, inputs), as a file has them."""
        return (self.weights[self.positions.places] * self.positions.signs).T


def of(model: keras.Model) -> list[Buckets]:
    """Returns the element-wise hashed kernels of a model."""
    return [
        Buckets(keras.ops.convert_to_numpy(layer.kernel).astype("float32"), layer.positions)
        for layer in hashed_layers(operations(model))
        if layer.positions.places.size <= _MOST
    ]


def write_buckets(editor: Editor, layers: list[Buckets], dtype: str = "float32") -> int:
    """Puts buckets in the place of the weights that they make, where that makes the file smaller.

    Args:
        editor: a float file.
        layers: of the model that it came from.
        dtype: of the buckets: `float32`, `float16` or `int8`, these with one scale a layer. A
            dense layer's int8 weights stay integers and meet inputs that are quantised as the file
            runs; all others are expanded to floats.

    Returns:
        How many ops of the file hold buckets now.
    """
    expansion = _Expansion(editor, dtype)
    done = 0
    for op in editor.ops():
        if editor.name(op) not in ("CONV_2D", "FULLY_CONNECTED"):
            continue
        kernel = editor.values(op.inputs[1])
        if kernel is None or kernel[0].size == 1:
            continue
        for layer in layers:
            if kernel.size != layer.positions.places.size:
                continue
            factors = folded.factors(kernel.reshape(len(kernel), -1), layer.matrix)
            if factors is None:
                continue
            # A convolution's filters in their rows.
            width = kernel[0].size if kernel.ndim == 2 else kernel[0, 0].size
            if not _gains(layer, kernel[0].size // width, dtype):
                break
            # One row of inputs meets FULLY_CONNECTED, which takes integers that aren't constants;
            # of BATCH_MATMUL they would come out wrong.
            rows = math.prod(editor.shape(op.outputs[0])[:-1])
            integers = dtype == "int8" and kernel.ndim == 2 and rows == 1 and (factors == 1).all()
            weights = functools.partial(expansion.weights, layer, factors, width, bool(integers))
            im2col.with_weights(editor, op, weights)
            done += 1
            break
    expansion.close()
    return done


def _gains(layer: Buckets, parts: int, dtype: str) -> bool:
    """Returns whether buckets and the ops that expand them take fewer bytes than the weights.

    Weights without buckets come to the same type as these, later on.
    """
    saved = layer.positions.places.size - layer.weights.size
    return np.dtype(dtype).itemsize * saved > _OPS_BYTES * parts


def _scale(weights: np.ndarray) -> float:
    """Returns the scale that makes the largest weight 127."""
    return float(np.abs(weights).max() / 127) or 1.0


class _Expansion:
    """Writes the graph that fills variables, and the ops of the main graph that read them."""

    def __init__(self, editor: Editor, dtype: str) -> None:
        self._surgery = editor
        self._dtype = dtype
        self._before: list[Any] = []
        self._graph: Any = None
        self._stored: dict[int, int] = {}

    def weights(
        self, layer: Buckets, factors: np.ndarray, width: int, integers: bool, row: int
    ) -> int:
        """Expands a part of a layer, times the factors: (filters, width).

        Returns:
            A tensor of the main graph, int8 if `integers`.
        """
        editor = self._surgery
        if self._graph is None:
            self._graph, number = editor.subgraph("expand")
            self._before.append(editor.op("CALL_ONCE", [], [], initSubgraphIndex=number))
        matrix = self._matrix(layer, row * width, width)
        dtype, scale = "float32", None
        if (factors != 1).any():
            column = self._constant(factors[:, None])
            matrix = self._then("MUL", [matrix, column], self._shape(matrix), "float32")
        if integers:
            dtype, scale = "int8", _scale(layer.weights)
            matrix = self._then("QUANTIZE", [matrix], self._shape(matrix), dtype, scale=scale)
        shape = self._shape(matrix)
        shared: dict[str, Any] = {"container": "", "sharedName": f"weights{len(self._before)}"}
        handle = self._then("VAR_HANDLE", [], (), "resource", **shared)
        self._graph.operators.append(editor.op("ASSIGN_VARIABLE", [handle, matrix], []))
        handle = editor.then("VAR_HANDLE", [], (), "resource", self._before, **shared)
        return editor.then("READ_VARIABLE", [handle], shape, dtype, self._before, scale=scale)

    def close(self) -> None:
        """Puts the ops that read the variables before all others."""
        self._surgery.first(self._before)

    def _matrix(self, layer: Buckets, first: int, width: int) -> int:
        """Expands a part: (filters, width), the transpose of what `ElementwiseHash` has."""
        columns = layer.positions.shape[1]
        seed = layer.positions.seed
        shape = (columns, width)
        column = self._range(0, columns, 1)
        column = self._then("RESHAPE", [column, self._constant(np.array([columns, 1], np.int32))],
                            (columns, 1), "int32", newShape=[columns, 1])  # fmt: skip
        row = self._range(first * columns, (first + width) * columns, columns)
        index = self._then("ADD", [column, row], shape, "int32")
        bits = self._cast(index, "uint32")
        odd, start = hashing.seed_constants(seed)
        bits = self._integers("MUL", bits, odd)
        bits = self._integers("BITWISE_XOR", bits, start)
        for shift, factor in hashing.FMIX32:
            right = self._integers("RIGHT_SHIFT", bits, np.uint32(shift))
            bits = self._then("BITWISE_XOR", [bits, right], shape, "uint32")
            if factor != 1:
                bits = self._integers("MUL", bits, np.uint32(factor))
        negative = self._cast(self._integers("RIGHT_SHIFT", bits, np.uint32(31)), "int32")
        half = self._cast(self._integers("RIGHT_SHIFT", bits, np.uint32(1)), "int32")
        count = self._constant(np.array([len(layer.weights)], np.int32))
        place = self._then("FLOOR_MOD", [half, count], shape, "int32")
        if id(layer) not in self._stored:
            self._stored[id(layer)] = self._buckets(layer.weights)
        values = self._then("GATHER", [self._stored[id(layer)], place], shape, "float32", axis=0)
        signs = self._constant(np.array([1, -1], np.float32))
        signs = self._then("GATHER", [signs, negative], shape, "float32", axis=0)
        return self._then("MUL", [values, signs], shape, "float32")

    def _buckets(self, weights: np.ndarray) -> int:
        """Stores the weights in the type of the file, and reads them as floats."""
        if self._dtype == "float32":
            return self._constant(weights)
        if self._dtype == "float16":
            stored = self._constant(weights.astype(np.float16))
        else:
            scale = _scale(weights)
            steps = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
            stored = self._constant(steps, scale=scale)
        return self._then("DEQUANTIZE", [stored], weights.shape, "float32")

    def _range(self, start: int, end: int, step: int) -> int:
        ends = [self._constant(np.array(value, np.int32)) for value in (start, end, step)]
        return self._then("RANGE", ends, (len(range(start, end, step)),), "int32")

    def _cast(self, x: int, dtype: str) -> int:
        return self._then("CAST", [x], self._shape(x), dtype)

    def _integers(self, name: str, x: int, value: np.uint32) -> int:
        """Adds an op of a uint32 tensor and a number."""
        inputs = [x, self._constant(np.array([value], np.uint32))]
        return self._then(name, inputs, self._shape(x), "uint32")

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(size) for size in self._graph.tensors[tensor].shape)

    def _constant(self, values: np.ndarray, scale: float | None = None) -> int:
        return self._surgery.constant(values, scale=scale, graph=self._graph)

    def _then(
        self, name: str, inputs: list[int], shape: tuple[int, ...], dtype: str, **options: Any
    ) -> int:
        return self._surgery.then(
            name, inputs, shape, dtype, self._graph.operators, graph=self._graph, **options
        )
