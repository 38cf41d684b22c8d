"""Finds the ops of bits in a float file, and what stands before and behind them up to signs.

```
GREATER_EQUAL(x, 0), SELECT(1, -1), [PADV2 with 1, or PAD], CONV_2D or FULLY_CONNECTED with +-a
three times GREATER_EQUAL(x, t) and CAST, two ADD, [PAD], and the same
```

The second line takes levels, 0 to 3, instead of signs: two bits a value. What is said of signs here
holds for them as well.

Behind such an op, what acts on each channel alone and rises or falls throughout (PReLU, batch
normalisation, max pooling) doesn't move numbers past the next sign in more than one place, so that
the sum of signs can be compared with an integer instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcompress.tflite.dataflow import Dataflow
from tfcompress.tflite.padding import SAME, same_pads
from tfcompress.tflite.weighted_ops import one_magnitude

PADS = ("PAD", "PADV2")
Pads = tuple[int, int, int, int]  # Top, bottom, left, right.
SIGNS = (0.0,)  # What makes signs of numbers.
_NONE, _RELU = LINEAR_OR_RELU = (0, 1)  # The schema's numbers of activations.


@dataclasses.dataclass
class BinaryOp:
    """A convolution or dense op whose inputs are signs, or levels, and whose weights are binary.

    Attributes:
        op: the op.
        dense: whether it is a dense op.
        source: the tensor whose signs it takes.
        levels: what that tensor is compared with: 0 for signs, or where three levels begin.
        sign: the comparisons, what makes numbers of them, and padding ops.
        kernel: bool (filters, height, width, channels), True for -1.
        scale: float32 (filters,): the weights' magnitude.
        bias: float32 (filters,).
        pads: top, bottom, left, right.
        pad_value: 1 or 0.
        strides: down, right.
        dilations: down, right.
        relu: whether the op ends in a ReLU.
    """

    op: Any
    dense: bool
    source: int
    levels: tuple[float, ...]
    sign: list[Any]
    kernel: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    pads: Pads
    pad_value: int
    strides: tuple[int, int]
    dilations: tuple[int, int]
    relu: bool

    @property
    def most(self) -> int:
        """The largest sum of products that a filter can have."""
        return len(self.levels) * int(np.prod(self.kernel.shape[1:]))


def binary_ops(flow: Dataflow) -> tuple[list[BinaryOp], dict[str, str]]:
    """Finds the ops of bits of a float file.

    Returns:
        The ops in order; and the output name of each other op with binary weights, with the reason
        why it isn't one.
    """
    binaries, kept = [], {}
    for op in flow.editor.ops():
        if flow.name(op) not in ("CONV_2D", "FULLY_CONNECTED"):
            continue
        kernel = flow.editor.values(op.inputs[1])
        if kernel is None or not one_magnitude(kernel):
            continue
        binary = _as_binary(flow, op, kernel)
        if isinstance(binary, str):
            kept[flow.editor.text(op.outputs[0])] = binary
        else:
            binaries.append(binary)
    return binaries, kept


def _as_binary(flow: Dataflow, op: Any, kernel: np.ndarray) -> BinaryOp | str:
    """Returns an op as an op of bits, or why it is none."""
    dense = flow.name(op) == "FULLY_CONNECTED"
    options, shape = op.builtinOptions, flow.editor.shape(op.inputs[0])
    relu = options.fusedActivationFunction == _RELU
    if not relu and options.fusedActivationFunction != _NONE:
        return "its activation isn't a ReLU"
    if dense:
        if len(shape) != 2 and not options.keepNumDims:
            return "it flattens its input"
        kernel = kernel.reshape(len(kernel), 1, 1, -1)
    if kernel.shape[-1] != shape[-1]:
        return "its convolution has groups"
    around = padding_of(flow, op, kernel)
    if isinstance(around, str):
        return around
    maker = flow.producer(around.source)
    sign, levels = flow.sign(maker), flow.levels(maker)
    if levels is not None and any(around.pads) and around.value != 0:
        return "its inputs are levels, padded with another number than 0"
    if sign is not None:
        levels = (sign[0], SIGNS, [sign[1], maker])
    if levels is None:
        return "its inputs aren't signs"
    bias = flow.editor.values(op.inputs[2]) if len(op.inputs) > 2 else None
    return BinaryOp(
        op=op,
        dense=dense,
        source=levels[0],
        levels=levels[1],
        sign=[*levels[2], *around.ops],
        kernel=kernel < 0,
        scale=np.abs(kernel.reshape(len(kernel), -1)).max(1).astype("float32"),
        bias=np.zeros(len(kernel), "float32") if bias is None else bias.ravel(),
        pads=around.pads,
        pad_value=around.value if len(levels[1]) == 1 else 0,
        strides=around.strides,
        dilations=around.dilations,
        relu=relu,
    )


@dataclasses.dataclass(frozen=True)
class Padding:
    """What stands around an op's inputs, and how its window moves over them.

    Attributes:
        source: the tensor that is padded.
        ops: a padding op, if there is one.
        pads: top, bottom, left, right.
        value: 1 or 0.
        strides: down, right.
        dilations: down, right.
    """

    source: int
    ops: list[Any]
    pads: Pads
    value: int
    strides: tuple[int, int]
    dilations: tuple[int, int]


def padding_of(flow: Dataflow, op: Any, kernel: np.ndarray) -> Padding | str:
    """Returns an op's padding, the one in front of it included, or why it can't be one of ours.

    Args:
        flow: of the file.
        op: a convolution or dense op.
        kernel: (filters, height, width, channels).
    """
    dense = flow.name(op) == "FULLY_CONNECTED"
    options, shape = op.builtinOptions, flow.editor.shape(op.inputs[0])
    source = int(op.inputs[0])
    before = flow.producer(source)
    pads, pad_value, padding = (0, 0, 0, 0), 1, []
    if not dense and flow.name(before) in PADS:
        found = pads_of(flow, before)
        if found is None:
            return "its padding is neither 0 nor 1, or not of height and width"
        pads, pad_value = found
        padding, source = [before], int(before.inputs[0])
    strides, dilations = (1, 1), (1, 1)
    if not dense:
        strides = (int(options.strideH), int(options.strideW))
        dilations = (int(options.dilationHFactor), int(options.dilationWFactor))
        same = (0, 0, 0, 0)
        if options.padding == SAME:
            same = same_pads(shape[1:3], kernel.shape[1:3], strides, dilations)
        if any(same):
            if any(pads) and pad_value != 0:
                return "it is padded twice, with other values"
            pads, pad_value = both(pads, same), 0
        if too_wide(pads, kernel, dilations):
            return "it is padded by as much as its dilated kernel or more"
    return Padding(source, padding, pads, pad_value, strides, dilations)


def pads_of(flow: Dataflow, op: Any) -> tuple[Pads, int] | None:
    """Returns a padding op's pads and its value.

    None if that is neither 0 nor 1, or if it pads other dimensions.
    """
    amounts = flow.editor.values(op.inputs[1], "int32")
    value = flow.scalar(op.inputs[2]) if len(op.inputs) > 2 else 0.0
    if amounts is None or value not in (0.0, 1.0) or amounts[[0, 3]].any():
        return None
    top, bottom, left, right = (int(amount) for amount in amounts[1:3].ravel())
    return (top, bottom, left, right), int(value)


def both(pads: Pads, more: Pads) -> Pads:
    """Returns two paddings, one around the other, as one."""
    top, bottom, left, right = (a + b for a, b in zip(pads, more, strict=True))
    return top, bottom, left, right


def too_wide(pads: Pads, kernel: np.ndarray, dilations: Sequence[int]) -> bool:
    """Returns whether a pad is as wide as the dilated kernel, which the kernels don't take."""
    return any(
        pad > (kernel.shape[1 + place // 2] - 1) * dilations[place // 2]
        for place, pad in enumerate(pads)
    )


@dataclasses.dataclass(frozen=True)
class Pool:
    """A max pooling's window."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: Pads
    size: tuple[int, int]  # of its output


@dataclasses.dataclass
class Step:
    """An op that acts on each value of a channel alone, and rises or falls throughout.

    Attributes:
        op: the op.
        output: its output.
        apply: the same on float32 (values, filters), rounded as the op rounds; None if pooling.
        pool: the window, if it is a pooling.
    """

    op: Any
    output: int
    apply: Callable[[np.ndarray], np.ndarray] | None
    pool: Pool | None = None


def as_step(flow: Dataflow, op: Any, tensor: int, filters: int) -> Step | None:
    """Returns an op as a step from this tensor; None if it does more than rise or fall."""
    name, output = flow.name(op), int(op.outputs[0]) if op is not None else -1
    if name == "RELU":
        return Step(op, output, lambda y: np.maximum(y, np.float32(0)))
    if name == "PRELU" and int(op.inputs[0]) == tensor:
        slope = flow.per_filter(op.inputs[1], filters)
        if slope is None or (slope < 0).any():
            return None
        return Step(op, output, lambda y: np.where(y >= 0, y, y * slope))
    if name in ("MUL", "ADD", "SUB") and op.builtinOptions.fusedActivationFunction == _NONE:
        left = int(op.inputs[0]) == tensor
        values = flow.per_filter(op.inputs[1 if left else 0], filters)
        if values is None or (name == "SUB" and not left):
            return None
        apply = {"MUL": np.multiply, "ADD": np.add, "SUB": np.subtract}[name]
        return Step(op, output, lambda y: apply(y, values))
    if name == "MAX_POOL_2D" and op.builtinOptions.fusedActivationFunction == _NONE:
        options, shape = op.builtinOptions, flow.editor.shape(tensor)
        kernel = (int(options.filterHeight), int(options.filterWidth))
        strides = (int(options.strideH), int(options.strideW))
        pads = (0, 0, 0, 0)
        if options.padding == SAME:
            pads = same_pads(shape[1:3], kernel, strides, (1, 1))
        height, width = flow.editor.shape(output)[1:3]
        return Step(op, output, None, Pool(kernel, strides, pads, (height, width)))
    return None
