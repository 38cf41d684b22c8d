"""Mends the biases of filters without weights, which the quantizer writes as other numbers.

A bias is an integer of 32 bits on the grid of its filter's products. Where a filter's weights are
all 0, as pruning may leave them, ai-edge-quantizer makes that grid so fine that the
integer overflows, and the file holds the lowest there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import weighted, weighted_pairs

_ENDS = np.iinfo(np.int32)


def mend_biases(float_path: Path, path: Path) -> None:
    """Gives filters of zeros the largest grid of their layer, on which their bias can be held.

    Args:
        float_path: of the float file.
        path: of the integer file that the quantizer made of it, which is changed.
    """
    editor = Editor(path)
    biases = (_bias(editor, op, "int32") for op in weighted(editor))
    if not any(np.isin(bias, (_ENDS.min, _ENDS.max)).any() for bias in biases):
        return
    floats = Editor(float_path)
    for before, after in weighted_pairs(floats, editor):
        _mend(floats, before, editor, after)
    editor.write(path)


def _bias(editor: Editor, op: Any, dtype: str) -> np.ndarray:
    """Returns an op's bias; an empty array if it has none of this type."""
    values = editor.values(int(op.inputs[2]), dtype) if len(op.inputs) > 2 else None
    return np.zeros(0, dtype) if values is None else values


def _mend(floats: Editor, before: Any, editor: Editor, after: Any) -> None:
    """Mends an op's filters of zeros.

    Args:
        floats: the float file.
        before: the op in it.
        editor: the integer file.
        after: the op in it.
    """
    kernel, bias = floats.values(int(before.inputs[1])), _bias(floats, before, "float32")
    integers = _bias(editor, after, "int32")
    if kernel is None or not len(integers):
        return
    x, weights = (editor.graph.tensors[int(tensor)].quantization for tensor in after.inputs[:2])
    axes = tuple(axis for axis in range(kernel.ndim) if axis != weights.quantizedDimension)
    zeros = ~kernel.any(axis=axes)
    if len(weights.scale) != len(bias) or not zeros.any():
        return
    scales = np.array(weights.scale)
    scales[zeros] = 1.0 if zeros.all() else scales[~zeros].max()
    weights.scale = scales
    grid = scales * float(x.scale[0])
    mended = np.where(zeros, np.round(bias / grid), integers).astype(np.int32)
    inputs = [int(tensor) for tensor in after.inputs]
    inputs[2] = editor.constant(mended, editor.text(inputs[2]), scale=grid)
    after.inputs = inputs
