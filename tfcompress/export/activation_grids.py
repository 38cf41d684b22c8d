"""Gives integer files the activations' grids that a float file's roundings have.

A float file rounds an activation by QUANTIZE and DEQUANTIZE. In an integer file the op before them
rounds its sums to that grid itself, once, and what lies above the grid is its highest integer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.tflite.editor import Editor

# Ops of the roundings.
_DOWN, _UP = "QUANTIZE", "DEQUANTIZE"
# Ops that hand their input's values on, on the same grid; the first input is the one.
_HAND_ON = frozenset({"MAX_POOL_2D", "PAD", "RESHAPE", "SLICE", "STRIDED_SLICE", "TRANSPOSE"})
# Ops whose output has the input's grid, but other values.
_INPUTS_GRID = frozenset(
    {"AVERAGE_POOL_2D", "GATHER", "GATHER_ND", "REDUCE_MIN", "SPLIT", "UNPACK"}
    | {"BROADCAST_TO", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}
)
Grids = dict[str, tuple[float, float]]


def without_roundings(float_path: Path, path: Path) -> Grids:
    """Writes a float file without its roundings of activations.

    An activation that is read elsewhere, too, is multiplied by 1 in their place: that op's output
    has the grid.

    Args:
        float_path: the float file.
        path: of the file to write; left alone if there are no roundings.

    Returns:
        The least and the largest value of the grid of each tensor that has one, by its name in the
        new file.
    """
    editor = Editor(float_path)
    grids: Grids = {}
    for op in editor.ops():
        quantized = editor.graph.tensors[int(op.outputs[0])] if len(op.outputs) else None
        if editor.name(op) != _DOWN or quantized is None or not _is_grid(quantized.quantization):
            continue
        readers = [each for each in editor.ops() if op.outputs[0] in each.inputs]
        if len(readers) == 1 and editor.name(readers[0]) == _UP:
            grids |= dict.fromkeys(_remove(editor, op, readers[0]), _ends(quantized))
    if grids:
        editor.write(path)
    return grids


def _is_grid(grid: Any) -> bool:
    return grid is not None and grid.scale is not None and len(grid.scale) == 1


def _ends(quantized: Any) -> tuple[float, float]:
    """Returns the least and the largest value of an 8-bit tensor's grid."""
    from ai_edge_litert import schema_py_generated as schema

    scale, zero = float(quantized.quantization.scale[0]), int(quantized.quantization.zeroPoint[0])
    least = 0 if quantized.type == schema.TensorType.UINT8 else -128
    return (least - zero) * scale, (least + 255 - zero) * scale


def _remove(editor: Editor, down: Any, up: Any) -> list[str]:
    """Takes a rounding out of a file; returns the names of the tensors that have its grid now."""
    before, after = int(down.inputs[0]), int(up.outputs[0])
    tensors = _same_values(editor, before)
    if tensors is None or after in list(editor.graph.outputs):
        one = editor.constant(np.ones(1, np.float32))
        editor.replace(down, [editor.op("MUL", [before, one], [after])])
        editor.replace(up, [])
        return [editor.text(after)]
    editor.replace(down, [])
    editor.replace(up, [])
    for op in editor.ops():
        op.inputs = [before if tensor == after else int(tensor) for tensor in op.inputs]
    return [editor.text(tensor) for tensor in tensors]


def _same_values(editor: Editor, tensor: int) -> list[int] | None:
    """Returns a tensor and those before it that must have the same grid.

    None if one of them is read elsewhere, too, or the op that makes it has its input's grid.
    """
    tensors = [tensor]
    while True:
        if sum(tensors[-1] in op.inputs for op in editor.ops()) != 1:
            return None
        makers = [op for op in editor.ops() if tensors[-1] in op.outputs]
        name = editor.name(makers[0]) if makers else ""
        if name not in _HAND_ON:
            return None if name in _INPUTS_GRID else tensors
        tensors.append(int(makers[0].inputs[0]))
