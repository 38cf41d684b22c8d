"""Finds the convolutions of bytes in a float file: inputs on a grid of 8 bits, weights on others.

```
[PAD], clipping, [SUB], [MUL], [ADD], FLOOR, [MUL], [PAD], CONV_2D with weights of a step a filter
```

The ops from the clipping on are what `FakeQuantize` lowers to: pixels, where the normalised values
that they stand for are that grid. Such a convolution is one of integers, whatever its floats were
scaled with; it pads by itself.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tfcompress.export.exact_grids import on_grid
from tfcompress.export.xnor_match import (
    LINEAR_OR_RELU,
    PADS,
    SIGNS,
    BinaryOp,
    Padding,
    both,
    padding_of,
    pads_of,
    too_wide,
)
from tfcompress.tflite.dataflow import Dataflow

_BITS = 8
_MOST = 2**_BITS - 1
# Ops that clip, but for MINIMUM and MAXIMUM.
_CLIPS = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
# Products of a window that fit in 32 bits; see the kernels' `options.h`.
_WINDOW = 1 << 16


@dataclasses.dataclass
class ByteOp(BinaryOp):
    """A convolution of bytes.

    Attributes:
        kernel: int8 (filters, height, width, channels).
        scale: float32 (filters,): what the sum of products of integers is multiplied with.
        step: what a step of the input stands for.
        zero_point: the byte that stands for 0.
        shift: what is added to the inputs before they are rounded; 0 where nothing is.
    """

    step: float
    zero_point: int
    shift: float

    @property
    def most(self) -> int:
        """The largest sum of products that a filter can have."""
        return _MOST * int(np.abs(self.kernel.astype("int64")).sum(axis=(1, 2, 3)).max())


def byte_ops(flow: Dataflow) -> list[ByteOp]:
    """Finds the convolutions of bytes of a float file, in order."""
    found = (_as_bytes(flow, op) for op in flow.editor.ops() if flow.name(op) == "CONV_2D")
    return [op for op in found if op is not None]


def _as_bytes(flow: Dataflow, op: Any) -> ByteOp | None:
    """Returns an op as a convolution of bytes, None if it is none."""
    kernel = flow.editor.values(op.inputs[1])
    activation = op.builtinOptions.fusedActivationFunction
    if kernel is None or activation not in LINEAR_OR_RELU:
        return None
    if kernel.shape[-1] != flow.editor.shape(op.inputs[0])[-1] or kernel[0].size > _WINDOW:
        return None
    around = padding_of(flow, op, kernel)
    if isinstance(around, str) or (around.value != 0 and any(around.pads)):
        return None
    floor, factor = _without_factor(flow, flow.producer(around.source))
    grid = _rounding(flow, floor)
    weights = on_grid(kernel, _BITS)
    if grid is None or weights is None:
        return None
    source, step, zero_point, shift = grid
    around = dataclasses.replace(around, source=source)
    around = _with_padding_before(flow, around, shift / step, kernel)
    integers, steps = weights
    bias = flow.editor.values(op.inputs[2]) if len(op.inputs) > 2 else None
    return ByteOp(
        op=op,
        dense=False,
        source=around.source,
        levels=SIGNS,
        sign=[],
        kernel=integers,
        scale=(steps * factor).astype("float32"),
        bias=np.zeros(len(kernel), "float32") if bias is None else bias.ravel(),
        pads=around.pads,
        pad_value=0,
        strides=around.strides,
        dilations=around.dilations,
        relu=LINEAR_OR_RELU.index(activation) == 1,
        step=step,
        zero_point=zero_point,
        shift=shift,
    )


def _with_padding_before(
    flow: Dataflow, around: Padding, shift: float, kernel: np.ndarray
) -> Padding:
    """Takes in the zeros that are put around an op's inputs before they are rounded to bytes.

    Args:
        flow: of the file.
        around: what stands around the op, with the tensor that is rounded as its source.
        shift: what is added before, in steps. Near a half, 0 might not become the zero point.
        kernel: (filters, height, width, channels).
    """
    before = flow.producer(around.source)
    found = pads_of(flow, before) if flow.name(before) in PADS else None
    if found is None or found[1] != 0 or abs(shift) > 0.49:
        return around
    pads = both(found[0], around.pads)
    if too_wide(pads, kernel, around.dilations):
        return around
    return dataclasses.replace(around, source=int(before.inputs[0]), pads=pads)


def _without_factor(flow: Dataflow, op: Any) -> tuple[Any, float]:
    """Returns the op before a multiplication by a number, and the number; else the op, and 1."""
    if flow.name(op) == "MUL" and op.builtinOptions.fusedActivationFunction == 0:
        factor = flow.scalar(op.inputs[1])
        if factor is not None:
            return flow.producer(op.inputs[0]), factor
    return op, 1.0


def _rounding(flow: Dataflow, op: Any) -> tuple[int, float, int, float] | None:
    """Returns what a FLOOR rounds to bytes: tensor, the bytes' step and zero point, and a shift.

    None if no clipping stands before it, or another one than to 256 integers. The converter leaves
    out additions of 0 and products with 1, and has ops of its own for some ranges.
    """
    if flow.name(op) != "FLOOR":
        return None
    source, factor, offset = int(op.inputs[0]), 1.0, 0.0  # FLOOR takes source * factor + offset.
    while (op := flow.producer(source)) is not None and flow.name(op) in ("ADD", "SUB", "MUL"):
        value = flow.scalar(op.inputs[1])
        if value is None or op.builtinOptions.fusedActivationFunction != 0:
            return None
        if flow.name(op) == "MUL":
            factor *= value
        else:
            offset += factor * value * (1 if flow.name(op) == "ADD" else -1)
        source = int(op.inputs[0])
    low, high = -math.inf, math.inf
    while (ends := _ends(flow, op)) is not None:
        low, high = max(low, ends[0]), min(high, ends[1])
        source = int(op.inputs[0])
        op = flow.producer(source)
    if factor <= 0 or not low < high or math.isinf(high - low):
        return None
    first, last = math.floor(low * factor + offset), math.floor(high * factor + offset)
    if last - first != _MOST or not 0 <= -first <= _MOST:
        return None
    shift = (offset - 0.5) / factor
    # A shift of next to nothing is rounding.
    return source, 1 / factor, -first, shift if abs(offset - 0.5) > 1e-3 else 0.0


def _ends(flow: Dataflow, op: Any) -> tuple[float, float] | None:
    """Returns the range to which an op clips its input; None if it does something else."""
    name = flow.name(op)
    if name in _CLIPS:
        return _CLIPS[name]
    value = flow.scalar(op.inputs[1]) if name in ("MINIMUM", "MAXIMUM") else None
    if value is None:
        return None
    return (-math.inf, value) if name == "MINIMUM" else (value, math.inf)
