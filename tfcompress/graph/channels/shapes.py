"""Rules for what moves, joins, cuts and combines channels, shared by layers and `keras.ops`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.graph.channels.trace import Array, Call, Kept, Trace, UnfollowedError, only

Shape = tuple[int | None, ...]


def same(trace: Trace, call: Call) -> None:
    """Follows what treats every value by itself: the output's channels are the input's."""
    traced = trace.of(only(call.inputs))
    trace.put(only(call.outputs), traced.axis, traced.labels)


def in_space(trace: Trace, call: Call) -> None:
    """Follows what treats every channel by itself, such as pooling: they stand on the last axis."""
    if getattr(call.operation, "data_format", None) == "channels_first":
        raise UnfollowedError(
            "data_format is channels_first; channels are followed on the last axis"
        )
    labels = trace.of_last_axis(only(call.inputs))
    output = only(call.outputs)
    trace.put(output, len(output.shape) - 1, labels)


def combine(trace: Trace, call: Call) -> None:
    """Follows an operation on values of several tensors at the same place, as `Add`."""
    output = only(call.outputs)
    rank = len(output.shape)
    if any(len(tensor.shape) != rank for tensor in call.inputs):
        raise UnfollowedError("combines tensors of different ranks")
    every = [(trace.of(tensor), tensor.shape) for tensor in call.inputs]
    axes = {t.axis for t, shape in every if shape[t.axis] == output.shape[t.axis] != 1}
    axis = min(axes, default=rank - 1)
    labels = None
    for traced, shape in every:
        if traced.axis == axis and shape[axis] == output.shape[axis]:
            if labels is None:
                labels = traced.labels
            else:
                trace.tie(labels, traced.labels)
        elif shape[axis] != 1 or len(traced.labels) != 1:
            raise UnfollowedError("combines tensors whose channels stand on different axes")
        else:
            name = f"{type(call.operation).__name__} '{call.operation.name}'"
            trace.freeze(traced.labels, f"{name} spreads the one channel over many")
    if labels is None:
        raise UnfollowedError("combines no tensors that have channels")
    trace.put(output, axis, labels)
    _cut_constants(call, axis - rank, labels)


def _cut_constants(call: Call, axis: int, labels: Array) -> None:
    """Notes that arrays among the arguments have an entry for each channel.

    Args:
        call: of an operation whose other arguments are tensors.
        axis: the channels', counted from the end.
        labels: of the output.
    """

    def cut(value: Any, kept: Kept) -> Any:
        if isinstance(value, keras.KerasTensor) or not _per_channel(value, axis):
            return value
        array = np.asarray(keras.ops.convert_to_numpy(value))
        return np.repeat(array, kept(labels), axis=axis)

    def change(args: tuple[Any, ...], kwargs: dict[str, Any], kept: Kept) -> Any:
        one = [cut(value, kept) for value in args]
        return tuple(one), {key: cut(value, kept) for key, value in kwargs.items()}

    constants = (*call.args, *call.kwargs.values())
    if any(not isinstance(c, keras.KerasTensor) and _per_channel(c, axis) for c in constants):
        call.change = change


def _per_channel(value: Any, axis: int) -> bool:
    """Returns whether an array has several entries along an axis counted from the end."""
    if value is None or isinstance(value, str | bool | int | float):
        return False
    if isinstance(value, list | tuple):
        if any(isinstance(each, keras.KerasTensor) for each in value):
            return False
        value = np.asarray(value)
    shape = tuple(getattr(value, "shape", ()))
    return len(shape) >= -axis and shape[axis] > 1


def concatenate(trace: Trace, call: Call) -> None:
    """Follows tensors put side by side, on the channels' axis or on another."""
    output = only(call.outputs)
    axis = call.operation.axis % len(output.shape)
    every = [trace.of(tensor) for tensor in call.inputs]
    if len({traced.axis for traced in every}) != 1:
        raise UnfollowedError("joins tensors whose channels stand on different axes")
    if every[0].axis == axis:
        trace.put(output, axis, np.concatenate([traced.labels for traced in every]))
        return
    for other in every[1:]:
        trace.tie(every[0].labels, other.labels)
    trace.put(output, every[0].axis, every[0].labels)


def reshape(trace: Trace, call: Call, key: str | None) -> None:
    """Follows a reshape, if the channels still fill whole slices of one axis behind it.

    Where they are dealt over two axes, as (groups, channels / groups), those at the same place of
    the last one live and die together.

    Args:
        trace: of the model.
        call: of a layer or an operation.
        key: of the configuration that holds the new shape; None if there is none.
    """
    tensor, output = only(call.inputs), only(call.outputs)
    traced = trace.of(tensor)
    before, after = tuple(tensor.shape), tuple(output.shape)
    first, start = _same_block(before, after, traced.axis)
    places = [1] * (len(before) - first)
    places[traced.axis - first] = -1
    labels = np.broadcast_to(traced.labels.reshape(places), before[first:]).reshape(after[start:])
    axis, row = _one_axis(trace, labels)
    axis += start
    trace.put(output, axis, row)
    if key is None:
        return
    old = list(getattr(call.operation, key))
    place = axis - (len(after) - len(old))
    if old[place] in (-1, None):
        return

    def value(kept: Kept) -> tuple[int | None, ...]:
        return tuple(int(kept(row).sum()) if i == place else s for i, s in enumerate(old))

    trace.set(call.operation, key, value)


def _same_block(before: Shape, after: Shape, axis: int) -> tuple[int, int]:
    """Returns from which axes on two shapes hold the same values in the same order.

    Raises:
        UnfollowedError: sizes that aren't known stand between.
    """
    for first in range(axis, 0, -1):
        if None in before[first:]:
            break
        size = math.prod(s for s in before[first:] if s)
        for start in range(len(after) - 1, 0, -1):
            if None in after[start:]:
                break
            if math.prod(s for s in after[start:] if s) == size:
                return first, start
    raise UnfollowedError(f"reshapes {before} to {after}: the channels can't be followed")


def _one_axis(trace: Trace, labels: Array) -> tuple[int, Array]:
    """Returns the axis along which labels differ, and its row; ties those of other axes."""

    def differs(axis: int) -> bool:
        return bool((labels != np.take(labels, [0], axis)).any())

    varying = [axis for axis in range(labels.ndim) if differs(axis)]
    axis = varying[-1] if varying else labels.ndim - 1
    rows = np.moveaxis(labels, axis, -1).reshape(-1, labels.shape[axis])
    if len(varying) > 1:
        for row in np.unique(rows, axis=0):
            trace.tie(rows[0], row)
    return axis, rows[0]


def transpose(trace: Trace, call: Call, order: Sequence[int]) -> None:
    """Follows a change of the axes' order: axis i of the output is `order[i]` of the input."""
    traced = trace.of(only(call.inputs))
    trace.put(only(call.outputs), list(order).index(traced.axis), traced.labels)


def reduce(trace: Trace, call: Call, axes: Sequence[int] | None, keepdims: bool) -> None:
    """Follows a mean, a maximum or the like over other axes than the channels'."""
    tensor, output = only(call.inputs), only(call.outputs)
    traced = trace.of(tensor)
    rank = len(tensor.shape)
    gone = {axis % rank for axis in (range(rank) if axes is None else axes)}
    if traced.axis in gone:
        raise UnfollowedError("is computed of all channels together")
    before = 0 if keepdims else sum(axis < traced.axis for axis in gone)
    trace.put(output, traced.axis - before, traced.labels)
