"""Changes the types of an integer file's input and output: integers, floats, or pixels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfcompress.config import IO
from tfcompress.errors import InputError, one_of, require
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor, edit
from tfcompress.tflite.metadata_writer import is_image

# What it means to who feeds a file.
MEANS = {
    "float32": "float32",
    "int8": "int8, by the scales in it",
    "uint8": "uint8: pixels as they are, and scores by the scale in it",
}


def check(
    io: str | None, *, integer: bool, mean: Sequence[float] = (), std: Sequence[float] = ()
) -> None:
    """Refuses input and output types that a file can't have, before it is built.

    Args:
        io: of `IO`; None is right for every file.
        integer: whether the file computes in integers throughout, or can take them: see
            `Method.takes_bytes`.
        mean: of the normalisation, on the scale 0..255; none if it isn't known.
        std: likewise.

    Raises:
        InputError: an unknown type, another than float32 for a file of floats, or a normalisation
            that differs between channels, for `uint8`.
    """
    if io is None:
        return
    one_of("io", io, IO)
    require(
        integer or io == "float32",
        f"io={io} is for files that compute in integers throughout, such as those of storage int8 "
        "of a network without binary inputs, and for storage xnor of a network whose first layer "
        "is in 8 bits (end_bits=8); this one takes and gives float32: leave io out",
    )
    if io == "uint8" and mean:
        _pixel_grid(mean, std)


def change(
    path: Path,
    io: str,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    *,
    rounded: bool = True,
) -> None:
    """Gives an integer file's input and output other types, in place.

    - `float32`: a QUANTIZE op in front and a DEQUANTIZE op behind, with the file's own grids, so
      that the outputs are those of the integer file. MediaPipe takes such files, and no others
      with integers that were trained on normalised images.
    - `uint8`: the same for bytes. With a normalisation the input is pixels as they are:
      `(pixel - zero point) * scale` is `(pixel - mean) / std` but for the mean's rounding to a
      whole number.

    A file that takes floats is left as it is by `float32`, one of integers by `int8`. Inputs and
    outputs that are no real numbers, such as indices of words, keep their types.

    Args:
        path: of the `.tflite`.
        io: of `IO`.
        mean: of the normalisation, on the scale 0..255; none if it isn't known.
        std: likewise.
        rounded: whether `float32` gives outputs that the file computes in floats on an integer
            grid all the same, which cuts what lies outside of it.

    Raises:
        InputError: an unknown type, a file that can't have it, or a normalisation that
            differs between channels, for `uint8`.
    """
    one_of("io", io, IO)
    content = read(path)
    tensors = (*content.inputs, *content.outputs)
    dtypes = {x.dtype for x in tensors if x.quantized or x.dtype.startswith("float")}
    if dtypes <= {io}:
        return
    if dtypes - ({io} if io == "float32" else set()) != {"int8"}:
        raise InputError(
            f"io={io} is for files that compute in integers; this one takes and gives "
            f"{', '.join(sorted(dtypes))}: leave io out"
        )
    grid = _pixel_grid(mean, std) if io == "uint8" and mean else None
    edit(path, lambda editor: _wrap(editor, io, grid, rounded or io != "float32"))


def _pixel_grid(mean: Sequence[float], std: Sequence[float]) -> tuple[float, int]:
    """Returns the scale and zero point with which a byte stands for the normalised pixel."""
    require(
        len(set(mean)) == len(set(std)) == 1 and 0 <= round(mean[0]) <= 255,
        f"io=uint8 has one scale for all channels, and the normalisation has mean {tuple(mean)} "
        f"and std {tuple(std)}: use io=float32, or a model that takes pixels",
    )
    return 1 / std[0], round(mean[0])


def _wrap(editor: Editor, io: str, grid: tuple[float, int] | None, rounded: bool) -> None:
    """Puts conversions before and behind all ops; the outer tensors keep their names."""
    graph = editor.graph
    before, behind = [], []
    for outer in _integers(graph, graph.inputs):
        inner = _moved(editor, outer, io)
        for op in editor.ops():
            op.inputs = [inner if int(index) == outer else int(index) for index in op.inputs]
        if grid is not None and is_image(graph.tensors[outer].shape):
            tensor = graph.tensors[outer].quantization
            tensor.scale, tensor.zeroPoint = [grid[0]], [grid[1]]
        before.append(editor.op("QUANTIZE", [outer], [inner]))
    for outer in _integers(graph, graph.outputs):
        if not rounded and _given_as_computed(editor, outer):
            continue
        inner = _moved(editor, outer, io)
        for op in editor.ops():
            for ends in ("inputs", "outputs"):
                indices = getattr(op, ends)
                setattr(op, ends, [inner if int(i) == outer else int(i) for i in indices])
        if io == "float32":
            behind.append(editor.op("DEQUANTIZE", [inner], [outer], version=2))
        else:
            behind.append(editor.op("QUANTIZE", [inner], [outer]))
    graph.operators = [*before, *editor.ops(), *behind]


def _given_as_computed(editor: Editor, outer: int) -> bool:
    """Drops the op that rounds an output which is computed in floats; says whether there is one."""
    from ai_edge_litert import schema_py_generated as schema

    graph, ops = editor.graph, editor.ops()
    rounding = next((op for op in ops if outer in map(int, op.outputs)), None)
    if rounding is None or editor.name(rounding) != "QUANTIZE":
        return False
    source = int(rounding.inputs[0])
    computed = any(source in map(int, op.outputs) for op in ops)
    floats = graph.tensors[source].type == schema.TensorType.FLOAT32
    if not (computed and floats) or any(outer in map(int, op.inputs) for op in ops):
        return False
    graph.tensors[outer].type, graph.tensors[outer].quantization = schema.TensorType.FLOAT32, None
    graph.operators = [op for op in ops if op is not rounding]
    for op in editor.ops():
        for ends in ("inputs", "outputs"):
            setattr(op, ends, [outer if int(i) == source else int(i) for i in getattr(op, ends)])
    return True


def _integers(graph: Any, ends: Any) -> list[int]:
    """Returns the tensors that are 8-bit integers on a grid, each once."""
    from ai_edge_litert import schema_py_generated as schema

    return [
        index
        for index in dict.fromkeys(map(int, ends))
        if graph.tensors[index].type == schema.TensorType.INT8
        and graph.tensors[index].quantization is not None
        and graph.tensors[index].quantization.scale is not None
    ]


def _moved(editor: Editor, outer: int, io: str) -> int:
    """Returns a new tensor like an outer one, which then gets the other type."""
    from ai_edge_litert import schema_py_generated as schema

    tensor: Any = editor.graph.tensors[outer]
    inner = copy.copy(tensor)
    inner.name = tensor.name + b"_int8"
    editor.graph.tensors.append(inner)
    if io == "float32":
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    else:  # The same real numbers, 128 steps further up.
        tensor.type, tensor.quantization = schema.TensorType.UINT8, copy.copy(inner.quantization)
        tensor.quantization.zeroPoint = [
            int(point) + 128 for point in tensor.quantization.zeroPoint
        ]
    return len(editor.graph.tensors) - 1
