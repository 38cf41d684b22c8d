"""Writes convolutions as slices and matrix products, for weights that no CONV_2D takes.

```
y[i, j] = b + sum over rows r of the filter   strip_r[i, j] @ w_r
strip_r[i, j] = the filter's width of x's row i * stride + r * dilation, from column j * stride on
```

One product for each row of the filter: a strip is a cut through one array that holds every row's
columns side by side, so that inputs are copied once for each column and once for each row of the
filter, not for each of its places (a 3x3 filter: a quarter less time than with nine slices).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfcompress.tflite.editor import Editor
from tfcompress.tflite.padding import SAME, same_pads

# From a strip (rows, inputs) and the filter's row that it meets: the product (rows, filters). Row 0
# brings the bias.
MatrixProduct = Callable[[int, int], int]
# From a row of the filters: the tensor (filters, inputs) of its weights.
Weights = Callable[[int], int]


def why_not(editor: Editor, op: Any) -> str | None:
    """Returns why an op can't be written as matrix products; None if it can."""
    if editor.name(op) == "FULLY_CONNECTED":
        return None
    if editor.name(op) == "DEPTHWISE_CONV_2D":
        return "a depthwise convolution isn't a product of matrices"
    channels, taken = editor.shape(op.inputs[0])[-1], editor.shape(op.inputs[1])[-1]
    if channels != taken:
        return f"its {channels // taken} groups would be as many products"
    return None


def convolution(editor: Editor, op: Any, ops: list[Any], product: MatrixProduct) -> None:
    """Puts a CONV_2D's slices, products, sums and activation behind those of a list.

    Args:
        editor: the file.
        op: a CONV_2D without groups.
        ops: where the new ops are put; the last one writes the convolution's output.
        product: puts one product there, with the bias for row 0.
    """
    out = int(op.outputs[0])
    shape = editor.shape(out)
    flat = (math.prod(shape[:3]), shape[3])
    strips = _strips(editor, op, ops)
    total = -1
    for row, strip in enumerate(strips):
        y = product(strip, row)
        total = y if row == 0 else editor.then("ADD", [y, total], flat, "float32", ops)
    act = int(op.builtinOptions.fusedActivationFunction)
    if act:  # Of the last addition, or of one with 0.
        if len(strips) == 1:
            zero = editor.constant(np.zeros(1, np.float32))
            total = editor.then("ADD", [total, zero], flat, "float32", ops)
        ops[-1].builtinOptions.fusedActivationFunction = act
    ops.append(editor.reshape(total, shape, output=out))


def with_weights(editor: Editor, op: Any, weights: Weights) -> None:
    """Replaces an op by one that takes weights which aren't constants of the file.

    Convolutions become BATCH_MATMUL, whose right side XNNPACK takes at run time, where CONV_2D and
    FULLY_CONNECTED with such weights fall to the runtime's slower kernels. For one row of inputs
    these are the faster ones: they don't repack the weights (1024x1024: 1.4 against 6 times the
    constant weights' time).

    Args:
        editor: the file.
        op: CONV_2D without groups, or FULLY_CONNECTED.
        weights: called for each row of the filters in turn; with 0 for FULLY_CONNECTED.
    """
    bias = int(op.inputs[2]) if len(op.inputs) > 2 else -1
    rows = math.prod(editor.shape(op.outputs[0])[:-1])
    if editor.name(op) == "FULLY_CONNECTED" and rows == 1:
        op.inputs = [op.inputs[0], weights(0), *op.inputs[2:]]
        return
    ops: list[Any] = []

    def product(strip: int, row: int) -> int:
        matrix = weights(row)
        shape = (editor.shape(strip)[0], editor.shape(matrix)[0])
        y = editor.then("BATCH_MATMUL", [strip, matrix], shape, "float32", ops, adjY=True)
        if row == 0 and bias >= 0:
            y = editor.then("ADD", [y, bias], shape, "float32", ops)
        return y

    if editor.name(op) == "CONV_2D":
        convolution(editor, op, ops, product)
    else:
        _dense(editor, op, ops, product)
    editor.replace(op, ops)


def patches(editor: Editor, op: Any, ops: list[Any]) -> int:
    """Returns for each place of a convolution all inputs that it meets, in the filter's order.

    Args:
        editor: the file.
        op: a CONV_2D without groups.
        ops: where the slices are put.

    Returns:
        The tensor (places, inputs).
    """
    strips = _strips(editor, op, ops)
    if len(strips) == 1:
        return strips[0]
    places, inputs = editor.shape(strips[0])
    shape = (places, len(strips) * inputs)
    return editor.then("CONCATENATION", strips, shape, "float32", ops, axis=1)


def without_factors(editor: Editor, op: Any, factors: np.ndarray) -> Any:
    """Takes factors of an op's filters out of it: a product behind it, then bias and activation.

    Args:
        editor: the file.
        op: CONV_2D or FULLY_CONNECTED.
        factors: one for each filter, which its weights won't have any more.

    Returns:
        The op in its place, without bias and activation. Its weights are still what they were.
    """
    shape, options = editor.shape(op.outputs[0]), op.builtinOptions
    bare = copy.copy(op)
    bare.builtinOptions = copy.copy(options)
    bare.builtinOptions.fusedActivationFunction = 0
    bias = int(op.inputs[2]) if len(op.inputs) > 2 else -1
    bare.inputs, bare.outputs = op.inputs[:2], [editor.tensor(shape, "float32", "")]
    after: list[Any] = []
    y = editor.then("MUL", [bare.outputs[0], editor.constant(factors)], shape, "float32", after)
    if bias < 0:
        bias = editor.constant(np.zeros(1, np.float32))
    end = editor.op(
        "ADD",
        [y, bias],
        [int(op.outputs[0])],
        fusedActivationFunction=options.fusedActivationFunction,
    )
    editor.replace(op, [bare, *after, end])
    return bare


def _dense(editor: Editor, op: Any, ops: list[Any], product: MatrixProduct) -> None:
    """Writes a FULLY_CONNECTED of several rows of inputs as one product."""
    out, x = int(op.outputs[0]), int(op.inputs[0])
    shape = editor.shape(x)
    y = product(editor.reshaped(x, (math.prod(shape[:-1]), shape[-1]), ops), 0)
    act = int(op.builtinOptions.fusedActivationFunction)
    if act:
        zero = editor.constant(np.zeros(1, np.float32))
        y = editor.then(
            "ADD", [y, zero], editor.shape(y), "float32", ops, fusedActivationFunction=act
        )
    ops.append(editor.reshape(y, editor.shape(out), output=out))


def _strips(editor: Editor, op: Any, ops: list[Any]) -> list[int]:
    """Returns for each row of the filter the inputs that it meets: (height * width, inputs)."""
    x, options = int(op.inputs[0]), op.builtinOptions
    rows, columns = editor.shape(op.inputs[1])[1:3]
    high, wide = editor.shape(op.outputs[0])[1:3]
    step = (int(options.strideH), int(options.strideW))
    apart = (int(options.dilationHFactor), int(options.dilationWFactor))
    if options.padding == SAME:
        x = _padded(editor, x, (rows, columns), step, apart, ops)
    batch, tall, _, channels = editor.shape(x)
    down = 1
    if rows == 1:  # Rows that no filter meets needn't be copied.
        tall, down = high, step[0]
    parts = [
        _cut(editor, x, (0, column * apart[1]), (tall, wide), (down, step[1]), ops)
        for column in range(columns)
    ]
    x, inputs = parts[0], columns * channels
    if columns > 1:
        shape = (batch, tall, wide, inputs)
        x = editor.then("CONCATENATION", parts, shape, "float32", ops, axis=3)
    flat = (batch * high * wide, inputs)
    if rows == 1:
        return [editor.reshaped(x, flat, ops)]
    if step[0] == 1 and batch == 1:  # A cut of whole rows is one run of memory.
        x = editor.reshaped(x, (tall * wide, inputs), ops)
        size = editor.constant(np.array(flat, np.int32))
        begins = [np.array([row * apart[0] * wide, 0], np.int32) for row in range(rows)]
        return [
            editor.then("SLICE", [x, editor.constant(begin), size], flat, "float32", ops)
            for begin in begins
        ]
    cuts = [
        _cut(editor, x, (row * apart[0], 0), (high, wide), (step[0], 1), ops) for row in range(rows)
    ]
    return [editor.reshaped(cut, flat, ops) for cut in cuts]


def _padded(
    editor: Editor,
    x: int,
    kernel: tuple[int, int],
    step: tuple[int, int],
    apart: tuple[int, int],
    ops: list[Any],
) -> int:
    """Puts zeros around images, as many as SAME padding has."""
    batch, *size, channels = editor.shape(x)
    above, below, left, right = same_pads(size, kernel, step, apart)
    if not (above or below or left or right):
        return x
    around = np.array([(0, 0), (above, below), (left, right), (0, 0)], np.int32)
    shape = (batch, size[0] + above + below, size[1] + left + right, channels)
    return editor.then("PAD", [x, editor.constant(around)], shape, "float32", ops)


def _cut(
    editor: Editor,
    x: int,
    begin: tuple[int, int],
    size: tuple[int, int],
    step: tuple[int, int],
    ops: list[Any],
) -> int:
    """Returns so many rows and columns, each a step behind the last."""
    shape = editor.shape(x)
    want = (shape[0], *size, shape[3])
    if shape == want and step == (1, 1):
        return x
    first = editor.constant(np.array([0, *begin, 0], np.int32))
    if step == (1, 1):
        inputs = [x, first, editor.constant(np.array(want, np.int32))]
        return editor.then("SLICE", inputs, want, "float32", ops)
    end = [shape[0], *(begin[i] + (size[i] - 1) * step[i] + 1 for i in range(2)), shape[3]]
    inputs = [x, first, editor.constant(np.array(end, np.int32)),
              editor.constant(np.array([1, *step, 1], np.int32))]  # fmt: skip
    return editor.then("STRIDED_SLICE", inputs, want, "float32", ops)
