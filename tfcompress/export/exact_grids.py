"""Stores weights that lie on a grid of few bits by the integers of that grid.

The quantizer divides a filter's largest weight by the largest integer: a filter of the values -2s,
-s, 0 and s would be rounded. Where a filter lies on some grid of its bits, that grid is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.ops.few_bits import levels
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import weighted_pairs

# Ops whose weights have the filters on their first axis.
_FILTERS_FIRST = ("CONV_2D", "FULLY_CONNECTED")
_BITS = {"int8": 8, "int4": 4}
# By how much of a step a weight may be off its grid: normalisations folded in round.
_OFF = 5e-5
# Of a filter, weights by which grids are ruled out before all are looked at.
_LOOKED_AT = 64


def write_exact_grids(floats: Editor, path: Path, bits: Mapping[str, int]) -> None:
    """Writes the weights of a quantised file on the grids where the float file has them.

    Weights that the quantizer holds exactly, or that lie on no grid, stay as they are.

    Args:
        floats: the float file, open.
        path: of the file that was quantised from it, which is changed.
        bits: of each op's weights, by output name.
    """
    # Ops in a loop's own graph stay as the quantizer has them.
    ops = {floats.text(op.outputs[0]): op for op in floats.ops() if len(op.outputs)}
    found = {name: _on_other_grid(floats, ops[name], bits[name]) for name in bits if name in ops}
    grids = {name: grid for name, grid in found.items() if grid is not None}
    if not grids:
        return
    editor = Editor(path)
    changed = [
        editor.set_integers(int(editor.writer(name).inputs[1]), packed, steps)
        for name, (packed, steps) in grids.items()
    ]
    if any(changed):
        editor.write(path)


def _on_other_grid(floats: Editor, op: Any, bits: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns an op's weights as integers, packed, and the steps between these.

    None where the quantizer holds the weights exactly, or no grid does.
    """
    kernel = floats.values(op.inputs[1])
    if floats.name(op) not in _FILTERS_FIRST or kernel is None:
        return None
    grid = on_grid(kernel, bits)
    if grid is None:
        return None
    integers, steps = grid
    usual = np.abs(kernel.reshape(len(kernel), -1)).max(axis=1) / levels(bits)[1]
    if np.allclose(steps, usual, rtol=1e-6, atol=0):
        return None
    return pack(integers, bits), np.where(steps > 0, steps, 1)  # A step of 0 would be refused.


def on_grid(kernel: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns weights as the integers of a grid that holds each filter, and its steps.

    Args:
        kernel: filters on the first axis.
        bits: of the integers.

    Returns:
        int8 of the kernel's shape, and `grid_steps`; None if some filter lies on no such grid.
    """
    rows = kernel.reshape(len(kernel), -1)
    steps = grid_steps(rows, bits)
    if steps is None:
        return None
    integers = np.round(rows / np.where(steps > 0, steps, 1)[:, None]).astype(np.int8)
    return integers.reshape(kernel.shape), steps


def write_integer_grids(floats: Editor, path: Path, *, skip: Collection[str] = ()) -> None:
    """Writes the weights of a file that computes in integers on the grids of the float file.

    Those are weights that were trained for a few bits: integers of up to 8 bits times a step for
    each filter. The biases go to the grid of the new products. All others stay as they are.

    Args:
        floats: the float file, open.
        path: of the integer file that was quantised from it, which is changed.
        skip: output names of ops, in the float file, whose weights stay.
    """
    editor = Editor(path)
    changed = [
        _write_grid(floats, before, editor, after)
        for before, after in weighted_pairs(floats, editor)
        if floats.name(before) in _FILTERS_FIRST and floats.text(before.outputs[0]) not in skip
    ]
    if any(changed):
        editor.write(path)


def _write_grid(floats: Editor, before: Any, editor: Editor, after: Any) -> bool:
    """Writes an op's weights on the grid of the float file, and its bias on that of the products.

    Args:
        floats: the float file.
        before: the op in it.
        editor: the integer file.
        after: the op in it.

    Returns:
        False if the file holds them so already, or can't.
    """
    old = editor.graph.tensors[int(after.inputs[1])]
    bits = _BITS.get(editor.type_name(int(after.inputs[1])))
    kernel = floats.values(before.inputs[1])
    if bits is None or kernel is None:
        return False
    rows = kernel.reshape(len(kernel), -1)
    steps = grid_steps(rows, bits)
    if steps is None or old.quantization.quantizedDimension:
        return False
    scales = np.asarray(old.quantization.scale)
    filled = steps > 0  # Filters of zeros keep the quantizer's scale.
    if len(scales) != len(steps) or np.allclose(steps[filled], scales[filled], rtol=1e-6, atol=0):
        return False
    steps = np.where(filled, steps, scales)
    packed = pack(np.round(rows / steps[:, None]).astype(np.int8), bits)
    inputs = [int(tensor) for tensor in after.inputs]
    name = editor.text(inputs[1])
    inputs[1] = editor.constant_on_grid(packed, kernel.shape, f"int{bits}", name, steps)
    if len(before.inputs) > 2 and floats.values(before.inputs[2]) is not None:
        inputs[2] = bias_on_grid(floats, before, editor, after, steps)
    after.inputs = inputs
    return True


def bias_on_grid(floats: Editor, before: Any, editor: Editor, after: Any, steps: np.ndarray) -> int:
    """Adds a bias of 32-bit integers on the grid of an op's products; returns its tensor.

    Args:
        floats: the float file.
        before: the op in it.
        editor: the integer file.
        after: the op in it, whose input has its grid.
        steps: of the weights, for each filter.
    """
    bias = floats.values(before.inputs[2])
    assert bias is not None
    x = editor.graph.tensors[int(after.inputs[0])].quantization
    grid = steps * float(x.scale[0])
    limits = np.iinfo(np.int32)
    values = np.clip(np.round(bias / grid), limits.min, limits.max).astype(np.int32)
    name = editor.text(int(after.inputs[2]))
    return editor.constant(values, name, scale=grid)


def grid_steps(rows: np.ndarray, bits: int) -> np.ndarray | None:
    """Returns the step of a grid that holds each filter, the quantizer's own where that does.

    Args:
        rows: weights of a filter in each, (filters, weights).
        bits: of the integers.

    Returns:
        (filters,), 0 for a filter of zeros; None if some filter lies on no such grid.
    """
    low, high = levels(bits)
    largest = np.abs(rows).max(axis=1, initial=0.0).astype("float64")
    steps = np.zeros_like(largest)
    left = np.flatnonzero(largest > 0)
    for count in (high, *(count for count in range(-low, 0, -1) if count != high)):
        tried = np.where(largest > 0, largest / count, 1.0)
        few = left[_on_grid(rows[left, :_LOOKED_AT], tried[left], low, high)]
        fits = few[_on_grid(rows[few], tried[few], low, high)]
        steps[fits] = tried[fits]
        left = np.setdiff1d(left, fits)
        if not len(left):
            return steps
    return None


def _on_grid(rows: np.ndarray, steps: np.ndarray, low: int, high: int) -> np.ndarray:
    """Says which rows hold but integers from low to high, times their steps."""
    ratio = rows / steps[:, None]
    whole = np.round(ratio)
    within = (np.abs(ratio - whole) <= _OFF) & (whole >= low) & (whole <= high)
    return np.asarray(within.all(axis=1))


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Returns integers as a file has them: the first in the lowest bits of each byte.

    Args:
        codes: int8.
        bits: 8, 4 or 2.
    """
    flat: Any = codes.ravel().astype(np.uint8) & (2**bits - 1)
    share = 8 // bits
    groups = np.pad(flat, (0, -len(flat) % share)).reshape(-1, share)
    return np.bitwise_or.reduce(groups << np.arange(0, 8, bits, dtype=np.uint8), axis=1)
