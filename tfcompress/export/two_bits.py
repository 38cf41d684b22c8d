"""Gives ops of an integer file weights of 2 bits, which the quantizer writes for floats alone.

The runtime multiplies 8-bit inputs by such weights in FULLY_CONNECTED, so convolutions become
slices and one matrix product (`export.im2col`). All of these are integers on the input's own grid:
nothing but the weights is rounded anew.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.export import exact_grids, im2col
from tfcompress.ops.few_bits import levels
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import weighted_pairs

# Steps that are tried for a filter, as shares of its largest weight: from where -2 steps are that
# weight's size down, since most weights are far smaller.
_SHARES = np.linspace(0.2, 1.0, 17)


def write_two_bits(floats: Editor, path: Path, outputs: Collection[str]) -> None:
    """Gives ops weights of 2 bits in place of the 8 that they have.

    Args:
        floats: the float file, open.
        path: of the integer file that the quantizer made of it, which is changed.
        outputs: output names of these ops in the float file: CONV_2D without groups, or
            FULLY_CONNECTED.
    """
    editor = Editor(path)
    weights: dict[int, int] = {}
    for before, after in weighted_pairs(floats, editor):
        if floats.text(before.outputs[0]) in outputs:
            _narrow(floats, before, editor, after, weights)
    editor.write(path)


def _narrow(
    floats: Editor, before: Any, editor: Editor, after: Any, weights: dict[int, int]
) -> None:
    """Gives one op weights of 2 bits, and a bias on the grid of its products.

    Args:
        floats: the float file.
        before: the op in it.
        editor: the integer file.
        after: the op in it.
        weights: those of 2 bits made so far, by what they were; ops may share them.
    """
    kernel = floats.values(before.inputs[1])
    assert kernel is not None
    rows = kernel.reshape(len(kernel), -1)
    tensors = editor.graph.tensors
    steps = steps_for(rows)
    steps = np.where(steps > 0, steps, steps.max() or 1.0)  # Filters of zeros, which have a bias.
    key = int(before.inputs[1])
    if key not in weights:
        low, high = levels(2)
        codes = np.clip(np.round(rows / steps[:, None]), low, high).astype(np.int8)
        packed = exact_grids.pack(codes, 2)
        weights[key] = editor.constant_on_grid(
            packed, rows.shape, "int2", editor.text(int(after.inputs[1])), steps
        )
    inputs = [int(after.inputs[0]), weights[key]]
    bias = floats.values(before.inputs[2]) if len(before.inputs) > 2 else None
    if bias is not None:
        grid = steps * float(tensors[inputs[0]].quantization.scale[0])
        limits = np.iinfo(np.int32)
        values = np.clip(np.round(bias / grid), limits.min, limits.max).astype(np.int32)
        inputs.append(editor.constant(values, editor.text(int(after.inputs[2])), scale=grid))
    else:
        inputs.append(-1)
    if editor.name(after) == "FULLY_CONNECTED":
        after.inputs = inputs
    else:
        editor.replace(after, _as_dense(editor, after, inputs))


def _as_dense(editor: Editor, op: Any, inputs: list[int]) -> list[Any]:
    """Returns the ops that stand for a convolution: slices, one product, another shape."""
    ops: list[Any] = []
    patches = im2col.patches(editor, op, ops)
    for made in ops:  # Copies of the input's integers.
        for output in made.outputs:
            like = editor.graph.tensors[inputs[0]]
            tensor = editor.graph.tensors[int(output)]
            tensor.type, tensor.quantization = like.type, copy.copy(like.quantization)
    out = int(op.outputs[0])
    shape = editor.shape(out)
    product = editor.tensor(
        (editor.shape(patches)[0], shape[3]), "int8", f"{editor.text(out)}/product", like=out
    )
    ops.append(
        editor.op(
            "FULLY_CONNECTED",
            [patches, *inputs[1:]],
            [product],
            fusedActivationFunction=int(op.builtinOptions.fusedActivationFunction),
        )
    )
    ops.append(editor.reshape(product, shape, output=out))
    return ops


def steps_for(rows: np.ndarray) -> np.ndarray:
    """Returns the step of each filter's grid -2s, -s, 0, s that its weights are nearest to.

    Args:
        rows: weights of a filter in each, (filters, weights).

    Returns:
        (filters,), 0 for a filter of zeros; the grids that hold all weights without error, if
        there are such.
    """
    exact = exact_grids.grid_steps(rows, 2)
    if exact is not None:
        return exact
    low, high = levels(2)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    best, least = np.zeros_like(largest), np.full_like(largest, np.inf)
    for share in _SHARES:
        steps = np.where(largest > 0, share * largest, 1.0)
        codes = np.clip(np.round(rows / steps[:, None]), low, high)
        # The step that is best for these integers.
        squares = np.square(codes).sum(axis=1)
        steps = np.where(squares > 0, (rows * codes).sum(axis=1) / np.maximum(squares, 1), steps)
        errors = np.square(rows - codes * steps[:, None]).sum(axis=1)
        better = (errors < least) & (largest > 0)
        best[better], least[better] = steps[better], errors[better]
    return best
