"""Steps of built-in layers for the operations of `keras.ops` that move, add or drop values.

A handler takes `BuiltIns`, the operation with its settings, and the tensors of the other side. It
raises `UnsupportedError` for what mixes values of several examples, since no layer does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tfcompress.bridge.built_in import BuiltIns
from tfcompress.bridge.operands import Rows, UnsupportedError, tensor

Handler = Callable[..., Any]


def reshape(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    """Reshapes within each example; across the batch, only to `Rows`."""
    target = list(operation.newshape)
    sizes = _sizes(x)
    if None in sizes or None in target[1:] or target[0] is None:
        raise UnsupportedError("of a tensor whose sizes aren't all known")
    total = math.prod(size for size in sizes if size is not None)
    rest = target[1:]
    if -1 in rest:  # Then the first is given, which is the batch's.
        raise UnsupportedError("that gives the batch another size")
    if not math.prod(rest) or total % math.prod(rest):
        raise UnsupportedError("that mixes values of several examples")
    rows = total // math.prod(rest)
    if rows == 1:
        return _reshaped(built_in, x, rest)
    if target[0] != -1:
        raise UnsupportedError("that gives the batch another size")
    return Rows(_reshaped(built_in, x, [rows, *rest]))


def _sizes(x: Any) -> list[int | None]:
    """Returns the sizes of a tensor's axes without the batch; of `Rows` with the rows."""
    return list((x.tensor if isinstance(x, Rows) else tensor(x)).shape)[1:]


def _reshaped(built_in: BuiltIns, x: Any, sizes: list[int]) -> Any:
    """Returns the tensor with these sizes behind the batch, by a layer if it needs one."""
    values = x.tensor if isinstance(x, Rows) else x
    if list(values.shape)[1:] == sizes:
        return values
    return built_in("Reshape", target_shape=tuple(sizes))(values)


def transpose(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    """Permutes the axes behind the batch."""
    axes = operation.axes
    if axes is None or axes[0] != 0:
        raise UnsupportedError("that moves the batch")
    if isinstance(x, Rows):
        return Rows(built_in("Permute", dims=(1, *(axis + 1 for axis in axes[1:])))(x.tensor))
    return built_in("Permute", dims=tuple(axes[1:]))(tensor(x))


def expand_dims(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    """Adds one axis of size 1 behind the batch."""
    sizes = [-1 if size is None else size for size in tensor(x).shape][1:]
    axes = operation.axis if isinstance(operation.axis, list | tuple) else [operation.axis]
    if len(axes) != 1 or sizes.count(-1) > 1:
        raise UnsupportedError("of a tensor whose sizes aren't all known")
    axis = axes[0] if axes[0] >= 0 else axes[0] + len(sizes) + 2
    if axis == 0:
        raise UnsupportedError("that moves the batch")
    return built_in("Reshape", target_shape=(*sizes[: axis - 1], 1, *sizes[axis - 1 :]))(x)


def squeeze(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    """Drops axes of size 1 behind the batch."""
    sizes = list(tensor(x).shape)
    axes = operation.axis
    if axis_missing := axes is None:
        axes = [axis for axis, size in enumerate(sizes) if size == 1]
    axes = axes if isinstance(axes, list | tuple) else [axes]
    dropped = {axis % len(sizes) for axis in axes}
    left = [size for axis, size in enumerate(sizes) if axis and axis not in dropped]
    if 0 in dropped or left.count(None) > 1 or (axis_missing and None in sizes):
        raise UnsupportedError("that may take away the batch, or of sizes that aren't known")
    return built_in("Reshape", target_shape=tuple(-1 if n is None else n for n in left))(x)


def concatenate(built_in: BuiltIns, operation: Any, xs: Any) -> Any:
    """Joins tensors along any axis but the batch."""
    tensors = [tensor(x) for x in xs]
    if operation.axis % len(tensors[0].shape) == 0:
        raise UnsupportedError("along the batch")
    return built_in("Concatenate", axis=operation.axis)(tensors)


def pooled(kind: str) -> Handler:
    """Returns the steps for a mean or maximum over all axes between the batch and the last.

    Args:
        kind: `Average` or `Max`.
    """

    def handler(built_in: BuiltIns, operation: Any, x: Any) -> Any:
        rank = len(tensor(x).shape)
        axes = operation.axis if isinstance(operation.axis, list | tuple) else [operation.axis]
        if None in axes or sorted(a % rank for a in axes) != list(range(1, rank - 1)) or rank < 3:
            raise UnsupportedError(
                f"over the axes {operation.axis}; only all but the batch and the last"
            )
        return built_in(f"Global{kind}Pooling{rank - 2}D", keepdims=operation.keepdims)(x)

    return handler


def pad(built_in: BuiltIns, operation: Any, x: Any, constant_values: Any = None) -> Any:
    """Puts zeros around the axes between the batch and the last."""
    pads = [tuple(pad) for pad in operation.pad_width]
    rank = len(tensor(x).shape)
    if len(pads) == 1:
        pads = pads * rank
    if operation.mode != "constant" or constant_values not in (None, 0):
        raise UnsupportedError("with other values than 0")
    if rank not in (3, 4, 5) or any(pads[0]) or any(pads[-1]):
        raise UnsupportedError("of the batch or the last axis")
    middle = pads[1:-1]
    padding = middle[0] if rank == 3 else tuple(middle)
    return built_in(f"ZeroPadding{rank - 2}D", padding=padding)(x)
