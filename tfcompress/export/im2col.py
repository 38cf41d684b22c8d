"""Convolutions written as slices and matrix products, for weights that no CONV_2D takes.

```
y[i, j] = b + sum over rows r of the filter   strip_r[i, j] @ w_r
strip_r[i, j] = the filter's width of x's row i * stride + r * dilation, from column j * stride on
```

One product for each row of the filter: a strip is a cut through one array that holds every row's
columns side by side, so that inputs are copied once for each column and once for each row of the
filter, not for each of its places (a 3x3 filter: a quarter less time than with nine slices).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfcompress.export.surgery import Surgery

_SAME = 0  # Of the schema's Padding.

# From a strip (rows, inputs), the weights (filters, inputs) that it meets, and whether the bias is
# to be added: the product (rows, filters).
Product = Callable[[int, np.ndarray, bool], int]


def why_not(surgery: Surgery, op: Any) -> str | None:
    """Why a CONV_2D isn't written as products, or None if it can be."""
    channels, taken = surgery.shape(op.inputs[0])[-1], surgery.shape(op.inputs[1])[-1]
    if channels != taken:
        return f"its {channels // taken} groups would be as many products"
    return None


def convolution(surgery: Surgery, op: Any, ops: list[Any], product: Product) -> None:
    """Puts a CONV_2D's slices, products, sums and activation behind those of a list.

    Args:
        surgery: the file.
        op: a CONV_2D without groups and with constant float weights.
        ops: where the new ops are put; the last one writes the convolution's output.
        product: puts one product there; with the bias for one strip of all.
    """
    kernel = surgery.values(op.inputs[1])
    assert kernel is not None
    out = int(op.outputs[0])
    shape = surgery.shape(out)
    flat = (math.prod(shape[:3]), shape[3])
    total = -1
    for row, strip in enumerate(_strips(surgery, op, ops)):
        y = product(strip, kernel[:, row].reshape(len(kernel), -1), row == 0)
        total = y if row == 0 else surgery.then("ADD", [y, total], flat, "float32", ops)
    act = int(op.builtinOptions.fusedActivationFunction)
    if act:  # Of the last addition, or of one with 0.
        if len(kernel[0]) == 1:
            zero = surgery.constant(np.zeros(1, np.float32))
            total = surgery.then("ADD", [total, zero], flat, "float32", ops)
        ops[-1].builtinOptions.fusedActivationFunction = act
    ops.append(surgery.reshape(total, shape, output=out))


def _strips(surgery: Surgery, op: Any, ops: list[Any]) -> list[int]:
    """For each row of the filter the inputs that it meets: (height * width, inputs)."""
    x, options = int(op.inputs[0]), op.builtinOptions
    rows, columns = surgery.shape(op.inputs[1])[1:3]
    high, wide = surgery.shape(op.outputs[0])[1:3]
    step = (int(options.strideH), int(options.strideW))
    apart = (int(options.dilationHFactor), int(options.dilationWFactor))
    if options.padding == _SAME:
        x = _padded(surgery, x, (rows, columns), (high, wide), step, apart, ops)
    tall, channels = surgery.shape(x)[1], surgery.shape(x)[3]
    if rows == 1:  # Rows that no filter meets needn't be copied.
        tall, down = high, step[0]
    else:
        down = 1
    parts = [
        _cut(surgery, x, (0, column * apart[1]), (tall, wide), (down, step[1]), ops)
        for column in range(columns)
    ]
    inputs = columns * channels
    if columns > 1:
        x = surgery.then("CONCATENATION", parts, (1, tall, wide, inputs), "float32", ops, axis=3)
    else:
        x = parts[0]
    if rows == 1:
        return [surgery.reshaped(x, (high * wide, inputs), ops)]
    if step[0] == 1:
        x = surgery.reshaped(x, (tall * wide, inputs), ops)
        size = surgery.constant(np.array([high * wide, inputs], np.int32))
        begins = [np.array([row * apart[0] * wide, 0], np.int32) for row in range(rows)]
        shape = (high * wide, inputs)
        return [
            surgery.then("SLICE", [x, surgery.constant(begin), size], shape, "float32", ops)
            for begin in begins
        ]
    cuts = [
        _cut(surgery, x, (row * apart[0], 0), (high, wide), (step[0], 1), ops)
        for row in range(rows)
    ]
    return [surgery.reshaped(cut, (high * wide, inputs), ops) for cut in cuts]


def _padded(
    surgery: Surgery,
    x: int,
    kernel: tuple[int, int],
    size: tuple[int, int],
    step: tuple[int, int],
    apart: tuple[int, int],
    ops: list[Any],
) -> int:
    """Zeros around images, as many as TensorFlow's SAME has; fewer before than behind."""
    _, *old, channels = surgery.shape(x)
    around = [(0, 0)]
    for axis in range(2):
        reach = (size[axis] - 1) * step[axis] + (kernel[axis] - 1) * apart[axis] + 1
        more = max(0, reach - old[axis])
        around.append((more // 2, more - more // 2))
    around.append((0, 0))
    if not any(map(any, around)):
        return x
    new = [side + sum(pads) for side, pads in zip(old, around[1:3], strict=True)]
    pads = surgery.constant(np.array(around, np.int32))
    return surgery.then("PAD", [x, pads], (1, *new, channels), "float32", ops)


def _cut(
    surgery: Surgery,
    x: int,
    begin: tuple[int, int],
    size: tuple[int, int],
    step: tuple[int, int],
    ops: list[Any],
) -> int:
    """So many rows and columns, each a step behind the last."""
    shape = surgery.shape(x)
    want = (1, *size, shape[3])
    if shape == want and step == (1, 1):
        return x
    first = surgery.constant(np.array([0, *begin, 0], np.int32))
    if step == (1, 1):
        inputs = [x, first, surgery.constant(np.array(want, np.int32))]
        return surgery.then("SLICE", inputs, want, "float32", ops)
    end = [1, *(begin[i] + (size[i] - 1) * step[i] + 1 for i in range(2)), shape[3]]
    inputs = [x, first, surgery.constant(np.array(end, np.int32)),
              surgery.constant(np.array([1, *step, 1], np.int32))]  # fmt: skip
    return surgery.then("STRIDED_SLICE", inputs, want, "float32", ops)
