"""Gives ops of an integer file weights of 2 bits, which the quantizer writes for floats alone.

The runtime multiplies 8-bit inputs by such weights in FULLY_CONNECTED, so convolutions become
slices and one matrix product (`export.im2col`). All of these are integers on the input's own grid:
nothing but the weights is rounded anew.
"""

from __future__ import annotations

import copy
import itertools
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
_SHARES = np.linspace(0.1, 1.0, 19)
# Squared mean by variance of max(0, x) for normally distributed x: 1 / (pi - 1).
_MEAN_SHARE = 1 / (np.pi - 1)


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
    codes, steps = nearest(rows)
    steps = np.where(steps > 0, steps, steps.max() or 1.0)  # Filters of zeros, which have a bias.
    key = int(before.inputs[1])
    if key not in weights:
        packed = exact_grids.pack(codes, 2)
        weights[key] = editor.constant_on_grid(
            packed, rows.shape, "int2", editor.text(int(after.inputs[1])), steps
        )
    inputs = [int(after.inputs[0]), weights[key]]
    has_bias = len(before.inputs) > 2 and floats.values(before.inputs[2]) is not None
    inputs.append(
        exact_grids.bias_on_grid(floats, before, editor, after, steps) if has_bias else -1
    )
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


def nearest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rounds filters to 2 bits, so that what they make of inputs of one sign changes least.

    A filter's values are -2s, -s, 0 and s, or -s, 0 and s where that is nearer: the lowest of the
    four has no partner, so that the errors of many weights may have one sign, and add up where the
    inputs have one, too, as behind a ReLU. For an error e of the weights, and inputs of mean m and
    variance v that don't depend on one another, the output's mean square error is

    ```
    v * sum(e^2) + m^2 * (sum e)^2
    ```

    of which the least is looked for, with m^2 / v of a ReLU's normally distributed inputs. Ternary
    weights as such: Li, Zhang, Liu 2016, arXiv:1605.04711.

    Args:
        rows: weights of a filter in each, (filters, weights).

    Returns:
        int8 of the same shape, and steps (filters,), 0 for a filter of zeros; without error, if
        there are grids that hold all weights.
    """
    low, high = levels(2)
    exact = exact_grids.grid_steps(rows, 2)
    if exact is not None:
        return _codes(rows, exact, low), exact
    largest = np.abs(rows).max(axis=1, initial=0.0)
    best, least = np.zeros(rows.shape, np.int8), np.full_like(largest, np.inf)
    best_steps = np.zeros_like(largest)
    for lowest, share in itertools.product((low, -high), _SHARES):
        codes = _codes(rows, share * largest, lowest)
        # The step that is best for these integers.
        sums = codes.sum(axis=1, dtype=np.int64)
        squares = np.square(codes, dtype=np.int64).sum(axis=1) + _MEAN_SHARE * np.square(sums)
        products = (rows * codes).sum(axis=1) + _MEAN_SHARE * rows.sum(axis=1) * sums
        steps = np.maximum(products, 0) / np.maximum(squares, 1)
        errors = rows - codes * steps[:, None]
        costs = np.square(errors).sum(axis=1) + _MEAN_SHARE * np.square(errors.sum(axis=1))
        better = (costs < least) & (largest > 0)
        best[better], best_steps[better] = codes[better], steps[better]
        least[better] = costs[better]
    return best, best_steps


def _codes(rows: np.ndarray, steps: np.ndarray, low: int) -> np.ndarray:
    """Returns the integers from `low` to the highest that are nearest; 0 where the step is 0."""
    ratio = rows / np.where(steps > 0, steps, np.inf)[:, None]
    return np.clip(np.round(ratio), low, levels(2)[1]).astype(np.int8)
