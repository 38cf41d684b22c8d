"""Keeps the biases of filters without weights, which the quantizer would write as other numbers.

A bias is an integer of 32 bits on the grid of its filter's products. Where a filter's weights are
all 0, as pruning may leave them, or nearly 0, as weight decay does, ai-edge-quantizer makes that
grid so fine that the bias isn't on it. Such filters go to the quantizer as zeros without a bias,
and their biases are written into its file on the layer's own grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import weighted, weighted_pairs

# Biases are 32-bit integers; what lies beyond half of their range counts as too large.
_MOST = 2.0**30
# The quantizer's least range of a filter's weights, and its finest grid for that: 8 bits.
_LEAST, _STEPS = 1e-9, 127
# Output channel of a kernel by the op that has another first axis.
_FILTER_AXIS = {"DEPTHWISE_CONV_2D": 3}


def find(floats: Editor, limits: Mapping[str, Mapping[str, np.ndarray]]) -> dict[int, np.ndarray]:
    """Finds filters of zeros, and those whose weights are lost beside their bias.

    The latter's are at most a 2^23rd of their bias, times the largest input.

    Args:
        floats: the float file, open.
        limits: the least and the largest value of each tensor, by name: `min` and `max`.

    Returns:
        By the number of a weighted op, which of its filters. Nothing where all biases are on the
        grids of their products.
    """
    masks, any_lost = {}, False
    for number, op in enumerate(weighted(floats)):
        kernel, bias = floats.values(int(op.inputs[1])), _bias(floats, op, "float32")
        ends = limits.get(floats.text(int(op.inputs[0])))
        if kernel is None or not len(bias) or ends is None:
            continue
        others = tuple(axis for axis in range(kernel.ndim) if axis != _axis(floats, op))
        largest = np.abs(kernel).max(axis=others).astype("float64")
        step = max(float(ends["max"].max() - ends["min"].min()), _LEAST) / 255
        lost = np.abs(bias) > _MOST * step * np.maximum(largest, _LEAST) / _STEPS
        any_lost |= bool(lost.any())
        mask = lost | (largest == 0)
        if mask.any():
            masks[number] = mask
    return masks if any_lost else {}


def _bias(editor: Editor, op: Any, dtype: str) -> np.ndarray:
    """Returns an op's bias; an empty array if it has none of this type."""
    values = editor.values(int(op.inputs[2]), dtype) if len(op.inputs) > 2 else None
    return np.zeros(0, dtype) if values is None else values


def _axis(floats: Editor, op: Any) -> int:
    """Returns the axis of a kernel on which its filters stand."""
    return _FILTER_AXIS.get(floats.name(op), 0)


def write_without(float_path: Path, path: Path, masks: Mapping[int, np.ndarray]) -> None:
    """Writes a float file in which filters have neither weights nor biases.

    Args:
        float_path: of the float file.
        path: of the new one.
        masks: as `find` returns them.
    """
    editor = Editor(float_path)
    for number, op in enumerate(weighted(editor)):
        if number not in masks:
            continue
        inputs = [int(tensor) for tensor in op.inputs]
        for place, axis in ((1, _axis(editor, op)), (2, 0)):
            values = editor.values(inputs[place])
            assert values is not None
            kept = np.moveaxis(values.copy(), axis, 0)
            kept[masks[number]] = 0
            name = editor.text(inputs[place])
            inputs[place] = editor.constant(np.moveaxis(kept, 0, axis), name)
        op.inputs = inputs
    editor.write(path)


def write_biases(float_path: Path, path: Path, masks: Mapping[int, np.ndarray]) -> None:
    """Gives filters the largest grid of their layer, on which their bias can be held.

    Args:
        float_path: of the float file.
        path: of the integer file that the quantizer made without these filters, which is changed.
        masks: as `find` returns them.
    """
    floats, editor = Editor(float_path), Editor(path)
    for number, (before, after) in enumerate(weighted_pairs(floats, editor)):
        if number in masks:
            _write_bias(floats, before, editor, after, masks[number])
    editor.write(path)


def _write_bias(floats: Editor, before: Any, editor: Editor, after: Any, mask: np.ndarray) -> None:
    """Writes an op's biases of filters without weights.

    Args:
        floats: the float file.
        before: the op in it.
        editor: the integer file.
        after: the op in it; one that computes in floats gets its float bias back.
        mask: which filters.
    """
    bias, integers = _bias(floats, before, "float32"), _bias(editor, after, "int32")
    inputs = [int(tensor) for tensor in after.inputs]
    name = editor.text(inputs[2])
    if not len(integers):
        inputs[2] = editor.constant(bias, name)
        after.inputs = inputs
        return
    x, weights = (editor.graph.tensors[tensor].quantization for tensor in inputs[:2])
    scales, step = np.array(weights.scale), float(x.scale[0])
    if len(scales) == len(bias):
        largest = 1.0 if mask.all() else scales[~mask].max()
        # Inputs that are always 0 have a step of next to nothing.
        scales[mask] = max(largest, np.abs(bias[mask]).max() / (_MOST * step))
        weights.scale = scales
    grid = scales * step
    mended = np.where(mask, np.round(bias / grid), integers).astype(np.int32)
    inputs[2] = editor.constant(mended, name, scale=grid)
    after.inputs = inputs
