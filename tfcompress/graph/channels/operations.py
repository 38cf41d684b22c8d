"""Rules for operations of `keras.ops` in a model's graph, such as `x + y` and `ops.split`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfcompress.graph.channels import shapes
from tfcompress.graph.channels.trace import Array, Call, Kept, Rule, Trace, UnfollowedError, only

_SAME_NAMES = """
    Abs Absolute Cast Ceil Celu Conjugate Copy Cos Cosh Elu Erf Exp Exp2 Expm1 Floor Gelu HardShrink
    HardSigmoid HardSilu HardTanh Identity LeakyRelu Log Log10 Log1p Log2 LogSigmoid LogicalNot
    Negative Reciprocal Relu Relu6 Round Rsqrt Selu Sigmoid Sign Silu Sin Sinh SoftShrink Softplus
    Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus StopGradient Tan Tanh TanhShrink
    Threshold Trunc OnesLike ZerosLike NanToNum
"""
_SAME = frozenset(_SAME_NAMES.split())
_COMBINE_NAMES = """
    Add Arctan2 Divide DivideNoNan Equal FloorDivide Greater GreaterEqual Hypot Less LessEqual
    Logaddexp LogicalAnd LogicalOr LogicalXor Maximum Minimum Mod Multiply NotEqual Power Subtract
    TrueDivide Where
"""
_COMBINE = frozenset(_COMBINE_NAMES.split())
_REDUCE_NAMES = """
    All Amax Amin Any Max Mean Min Prod Std Sum Var Logsumexp
"""
_REDUCE = frozenset(_REDUCE_NAMES.split())


def rule_for(operation: Any) -> Rule | None:
    """Returns the rule of an operation of `keras.ops`; None for others."""
    kind = type(operation)
    if not kind.__module__.startswith("keras.src.ops."):
        return None
    name = kind.__name__
    if name in _SAME:
        return shapes.same
    if name in _COMBINE:
        return shapes.combine
    if name in _REDUCE:
        return _reduce
    return _RULES.get(name)


def _axes(value: Any, rank: int) -> list[int]:
    """Returns axes as numbers from 0."""
    every = value if isinstance(value, list | tuple) else [value]
    return [int(axis) % rank for axis in every]


def _reduce(trace: Trace, call: Call) -> None:
    op = call.operation
    axes = None if op.axis is None else _axes(op.axis, len(only(call.inputs).shape))
    shapes.reduce(trace, call, axes, bool(op.keepdims))


def _clip(trace: Trace, call: Call) -> None:
    if np.ndim(call.operation.x_min) or np.ndim(call.operation.x_max):
        raise UnfollowedError("clips each channel to bounds of its own")
    shapes.same(trace, call)


def _softmax(trace: Trace, call: Call) -> None:
    tensor = only(call.inputs)
    axis = call.operation.axis
    if axis is None or trace.of(tensor).axis in _axes(axis, len(tensor.shape)):
        raise UnfollowedError("is computed of all channels together")
    shapes.same(trace, call)


def _reshape(trace: Trace, call: Call) -> None:
    shapes.reshape(trace, call, "newshape")


def _transpose(trace: Trace, call: Call) -> None:
    rank = len(only(call.inputs).shape)
    axes = call.operation.axes
    order = range(rank)[::-1] if axes is None else _axes(list(axes), rank)
    shapes.transpose(trace, call, list(order))


def _swapaxes(trace: Trace, call: Call) -> None:
    op = call.operation
    order = list(range(len(only(call.inputs).shape)))
    order[op.axis1], order[op.axis2] = order[op.axis2], order[op.axis1]
    shapes.transpose(trace, call, order)


def _moveaxis(trace: Trace, call: Call) -> None:
    op = call.operation
    axes = np.arange(len(only(call.inputs).shape))
    moved = np.moveaxis(np.empty([1 + i for i in axes]), op.source, op.destination)
    shapes.transpose(trace, call, [size - 1 for size in moved.shape])


def _squeeze(trace: Trace, call: Call) -> None:
    tensor = only(call.inputs)
    axes = call.operation.axis
    if axes is None:
        axes = [axis for axis, size in enumerate(tensor.shape) if size == 1]
    shapes.reduce(trace, call, _axes(axes, len(tensor.shape)), keepdims=False)


def _expand_dims(trace: Trace, call: Call) -> None:
    traced, output = trace.of(only(call.inputs)), only(call.outputs)
    new = _axes(call.operation.axis, len(output.shape))
    old = [axis for axis in range(len(output.shape)) if axis not in new]
    trace.put(output, old[traced.axis], traced.labels)


def _pad(trace: Trace, call: Call) -> None:
    tensor = only(call.inputs)
    traced = trace.of(tensor)
    widths = call.operation.pad_width
    if any(widths[traced.axis] if len(widths) > 1 else widths[0]):
        raise UnfollowedError("pads the channels")
    shapes.same(trace, call)


def _flip(trace: Trace, call: Call) -> None:
    tensor = only(call.inputs)
    traced = trace.of(tensor)
    axis = call.operation.axis
    rank = len(tensor.shape)
    turned = axis is None or traced.axis in _axes(axis, rank)
    labels = traced.labels[::-1] if turned else traced.labels
    trace.put(only(call.outputs), traced.axis, labels)


def _split(trace: Trace, call: Call) -> None:
    """Follows a split: of the channels, each part has its own, and the cuts move."""
    op = call.operation
    tensor = only(call.inputs)
    traced = trace.of(tensor)
    if op.axis % len(tensor.shape) != traced.axis:
        for output in call.outputs:
            trace.put(output, traced.axis, traced.labels)
        return
    size = len(traced.labels)
    cuts = op.indices_or_sections
    if isinstance(cuts, int):
        cuts = range(size // cuts, size, size // cuts)
    cuts = [int(cut) for cut in cuts]
    labels = np.split(traced.labels, cuts)
    for output, part in zip(call.outputs, labels, strict=True):
        trace.put(output, traced.axis, part)

    def value(kept: Kept) -> tuple[int, ...]:
        return tuple(int(kept(traced.labels[:cut]).sum()) for cut in cuts)

    trace.set(op, "indices_or_sections", value)


def _get_item(trace: Trace, call: Call) -> None:
    """Follows `x[key]` of slices, `...`, None and whole numbers; channels only by a range."""
    tensor, output = only(call.inputs), only(call.outputs)
    traced = trace.of(tensor)
    key = call.kwargs.get("key", call.args[-1])
    entries = list(key) if isinstance(key, list | tuple) else [key]
    entries = _without_ellipsis(entries, len(tensor.shape))
    if any(e is not None and not isinstance(e, slice | int) for e in entries):
        raise UnfollowedError("takes entries by an index that isn't a range")
    axis = place = 0  # Of the tensor that is read, and of the output.
    for at, entry in enumerate(entries):
        if entry is None:
            place += 1
            continue
        if axis == traced.axis:
            labels = _range(call, entries, at, traced.labels)
            trace.put(output, place, labels)
            return
        axis += 1
        place += not isinstance(entry, int)
    raise UnfollowedError("has no index for the channels")


def _without_ellipsis(entries: list[Any], rank: int) -> list[Any]:
    """Returns the key with one entry for each axis, and those that are None."""
    given = sum(e is not None and e is not Ellipsis for e in entries)
    rest = [slice(None)] * (rank - given)
    at = next((i for i, e in enumerate(entries) if e is Ellipsis), len(entries))
    return [*entries[:at], *rest, *entries[at + 1 :]]


def _range(call: Call, entries: list[Any], at: int, labels: Array) -> Array:
    """Returns the labels that a key's entry takes, and notes the range's change."""
    entry = entries[at]
    if entry == slice(None):
        return labels
    if isinstance(entry, int) or entry.step not in (None, 1):
        raise UnfollowedError("takes single channels, or every n-th")
    start, stop, _ = entry.indices(len(labels))

    def change(args: tuple[Any, ...], kwargs: dict[str, Any], kept: Kept) -> Any:
        first = int(kept(labels[:start]).sum())
        new = slice(first, first + int(kept(labels[start:stop]).sum()))
        return (args[0], (*entries[:at], new, *entries[at + 1 :])), {}

    call.change = change
    return labels[start:stop]


def _pool(trace: Trace, call: Call) -> None:
    if keras.config.image_data_format() != "channels_last":
        raise UnfollowedError("channels are followed on the last axis")
    shapes.in_space(trace, call)


_RULES: dict[str, Rule] = {
    "AveragePool": _pool,
    "Clip": _clip,
    "Concatenate": shapes.concatenate,
    "ExpandDims": _expand_dims,
    "Flip": _flip,
    "GetItem": _get_item,
    "LogSoftmax": _softmax,
    "MaxPool": _pool,
    "Moveaxis": _moveaxis,
    "Pad": _pad,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Swapaxes": _swapaxes,
    "Transpose": _transpose,
}
