"""Stores weights that lie on a grid of few bits by the integers of that grid.

The quantizer divides a filter's largest weight by the largest integer: a filter of the values -2s,
-s, 0 and s would be rounded. Where a filter lies on some grid of its bits, that grid is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.ops.few_bits import levels
from tfcompress.tflite.editor import Editor

# Ops whose weights have the filters on their first axis.
_FILTERS_FIRST = ("CONV_2D", "FULLY_CONNECTED")
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
