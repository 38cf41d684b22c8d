"""What stands in tf_keras for operations of `keras.ops`: merge, rescaling and shape layers.

tf_keras would turn an operation on its tensors into a `TFOpLambda`, which TFMOT doesn't take, so
each is written in built-in layers, or refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfcompress.bridge.activations import TO_TF_KERAS
from tfcompress.bridge.built_in import BuiltIns, activation, affine, clip
from tfcompress.bridge.errors import NoBuiltInLayerError
from tfcompress.graph.nodes import is_symbolic


@dataclasses.dataclass(frozen=True)
class Rows:
    """A tensor of (batch, rows, ...) that stands for one of (batch * rows, ...).

    A layer of tf_keras can't move values between the batch and other axes, but one that works on
    the last axis needs no such move.
    """

    tensor: Any


class _No(Exception):  # noqa: N818 - never leaves this file
    """The steps don't cover these arguments."""


Handler = Callable[..., Any]


def stand_in(operation: Any, kind: str | None = None) -> Handler:
    """Returns the steps for an operation, a function of `BuiltIns` and the other side's tensors.

    Args:
        operation: of `keras.ops`, or one that stands for TensorFlow's in a tf_keras model.
        kind: the class of `keras.ops` that says what it does, if it isn't its own.

    Raises:
        NoBuiltInLayerError: at once or when it is called: no built-in layers do the same.
    """
    handler = _HANDLERS.get(kind or type(operation).__name__)
    if handler is None:
        raise NoBuiltInLayerError(operation)

    def steps(built_in: BuiltIns, *args: Any, **kwargs: Any) -> Any:
        try:
            return handler(built_in, operation, *args, **kwargs)
        except _No as no:
            raise NoBuiltInLayerError(operation, str(no)) from None

    return steps


def _is_tensor(value: Any) -> bool:
    return is_symbolic(value)


def _tensor(value: Any) -> Any:
    if not _is_tensor(value):
        raise _No("one of its inputs is no ordinary tensor of the model")
    return value


def _constant(x: Any, value: Any) -> Any:
    """A number, or nested lists of numbers, that doesn't widen the tensor."""
    if isinstance(value, Rows):
        raise _No("its input was reshaped across the batch")
    if "float" not in str(getattr(x.dtype, "name", x.dtype)):
        raise _No("of whole numbers with constants")
    array = np.asarray(value, "float64")
    if array.size == 1 and array.ndim < 2:
        return float(array.reshape(()))
    sizes = tuple(x.shape)[max(1, len(x.shape) - array.ndim) :]
    inner = array.shape[-len(sizes) :] if array.ndim >= len(sizes) else array.shape
    outer = array.shape[: array.ndim - len(inner)]
    fits = all(a in (1, b) for a, b in zip(inner[::-1], sizes[::-1], strict=False))
    if array.ndim > len(x.shape) or not fits or any(size != 1 for size in outer):
        raise _No(f"with a constant of shape {array.shape}, which isn't one for each example")
    return array.tolist()


def _merge(built_in: BuiltIns, kind: str, x: Any, y: Any) -> Any:
    if len(x.shape) != len(y.shape):
        raise _No("of tensors with different numbers of axes")
    return built_in(kind)([x, y])


def _pair(kind: str, constant: Handler, constant_first: Handler | None = None) -> Handler:
    """Of two tensors a merge layer; of a tensor and a constant, other steps."""

    def handler(built_in: BuiltIns, operation: Any, x1: Any, x2: Any) -> Any:
        if isinstance(x1, Rows) and not isinstance(x2, Rows) and not _is_tensor(x2):
            return Rows(handler(built_in, operation, x1.tensor, x2))
        if _is_tensor(x1) and _is_tensor(x2):
            if not kind:
                raise _No("of two tensors")
            return _merge(built_in, kind, x1, x2)
        if _is_tensor(x1):
            return constant(built_in, x1, _constant(x1, x2))
        x2 = _tensor(x2)
        return (constant_first or constant)(built_in, x2, _constant(x2, x1))

    return handler


def _negated(value: Any) -> Any:
    return (-np.asarray(value)).tolist()


def _inverse(value: Any) -> Any:
    if not np.all(value):
        raise _No("division by 0")
    return (1 / np.asarray(value)).tolist()


def _scalar(value: Any) -> float:
    if isinstance(value, list):
        raise _No("with a bound that isn't one number")
    return float(value)


def _power(built_in: BuiltIns, x: Any, exponent: Any) -> Any:
    if exponent != 2:
        raise _No(f"with the exponent {exponent}")
    return built_in("Multiply")([x, x])


def _no_first(built_in: BuiltIns, x: Any, value: Any) -> Any:
    raise _No("of a constant and a tensor")


def _maximum(built_in: BuiltIns, x: Any, bound: Any) -> Any:
    low = _scalar(bound)
    x = built_in("ReLU")(affine(built_in, x, offset=-low) if low else x)
    return affine(built_in, x, offset=low) if low else x


def _minimum(built_in: BuiltIns, x: Any, bound: Any) -> Any:
    high = _scalar(bound)
    return affine(built_in, built_in("ReLU")(affine(built_in, x, -1.0, high)), -1.0, high)


def _clip(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    x = _tensor(x)
    low, high = _constant(x, operation.x_min), _constant(x, operation.x_max)
    return clip(built_in, x, _scalar(low), _scalar(high))


def _square(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    return built_in("Multiply")([_tensor(x), x])


def _absolute(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    _constant(_tensor(x), 0)
    return built_in("Maximum")([x, affine(built_in, x, -1.0)])


def _negative(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    _constant(_tensor(x), 0)
    return affine(built_in, x, -1.0)


def _named(name: str, **settings: Any) -> Handler:
    """An activation function, if it has these settings."""

    def handler(built_in: BuiltIns, operation: Any, x: Any) -> Any:
        for key, value in settings.items():
            if getattr(operation, key) != value:
                raise _No(f"with {key}={getattr(operation, key)}; only {value} can be converted")
        if isinstance(x, Rows):
            return Rows(handler(built_in, operation, x.tensor))
        if name in TO_TF_KERAS:
            return TO_TF_KERAS[name](built_in, _tensor(x))
        return activation(built_in, _tensor(x), name)

    return handler


def _layer(kind: str, **settings: str) -> Handler:
    """A layer whose settings are attributes of the operation: argument to attribute."""

    def handler(built_in: BuiltIns, operation: Any, x: Any) -> Any:
        return built_in(kind, **{key: getattr(operation, name) for key, name in settings.items()})(
            _tensor(x)
        )

    return handler


def _sizes(x: Any) -> list[int | None]:
    """Of a tensor without the batch; of `Rows` with the rows."""
    return list((x.tensor if isinstance(x, Rows) else _tensor(x)).shape)[1:]


def _reshaped(built_in: BuiltIns, x: Any, sizes: list[int]) -> Any:
    tensor = x.tensor if isinstance(x, Rows) else x
    if list(tensor.shape)[1:] == sizes:
        return tensor
    return built_in("Reshape", target_shape=tuple(sizes))(tensor)


def _reshape(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    target = list(operation.newshape)
    old = _sizes(x)
    if None in old or None in target[1:] or target[0] is None:
        raise _No("of a tensor whose sizes aren't all known")
    total = math.prod(size for size in old if size is not None)
    rest = target[1:]
    if -1 in rest:  # Then the first is given, which is the batch's.
        raise _No("that gives the batch another size")
    if not math.prod(rest) or total % math.prod(rest):
        raise _No("that mixes values of several examples")
    rows = total // math.prod(rest)
    if rows == 1:
        return _reshaped(built_in, x, rest)
    if target[0] != -1:
        raise _No("that gives the batch another size")
    return Rows(_reshaped(built_in, x, [rows, *rest]))


def _transpose(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    axes = operation.axes
    if axes is None or axes[0] != 0:
        raise _No("that moves the batch")
    if isinstance(x, Rows):
        return Rows(built_in("Permute", dims=(1, *(axis + 1 for axis in axes[1:])))(x.tensor))
    return built_in("Permute", dims=tuple(axes[1:]))(_tensor(x))


def _expand_dims(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    sizes = [-1 if size is None else size for size in _tensor(x).shape][1:]
    axes = operation.axis if isinstance(operation.axis, list | tuple) else [operation.axis]
    if len(axes) != 1 or sizes.count(-1) > 1:
        raise _No("of a tensor whose sizes aren't all known")
    axis = axes[0] if axes[0] >= 0 else axes[0] + len(sizes) + 2
    if axis == 0:
        raise _No("that moves the batch")
    return built_in("Reshape", target_shape=(*sizes[: axis - 1], 1, *sizes[axis - 1 :]))(x)


def _squeeze(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    sizes = list(_tensor(x).shape)
    axes = operation.axis
    if axis_missing := axes is None:
        axes = [axis for axis, size in enumerate(sizes) if size == 1]
    axes = axes if isinstance(axes, list | tuple) else [axes]
    gone = {axis % len(sizes) for axis in axes}
    kept = [size for axis, size in enumerate(sizes) if axis and axis not in gone]
    if 0 in gone or kept.count(None) > 1 or (axis_missing and None in sizes):
        raise _No("that may take away the batch, or of sizes that aren't known")
    return built_in("Reshape", target_shape=tuple(-1 if n is None else n for n in kept))(x)


def _concatenate(built_in: BuiltIns, operation: Any, xs: Any) -> Any:
    tensors = [_tensor(x) for x in xs]
    if operation.axis % len(tensors[0].shape) == 0:
        raise _No("along the batch")
    return built_in("Concatenate", axis=operation.axis)(tensors)


def _pooled(kind: str) -> Handler:
    """A mean or maximum over all axes between the batch and the last."""

    def handler(built_in: BuiltIns, operation: Any, x: Any) -> Any:
        rank = len(_tensor(x).shape)
        axes = operation.axis if isinstance(operation.axis, list | tuple) else [operation.axis]
        if None in axes or sorted(a % rank for a in axes) != list(range(1, rank - 1)) or rank < 3:
            raise _No(f"over the axes {operation.axis}; only all but the batch and the last")
        return built_in(f"Global{kind}Pooling{rank - 2}D", keepdims=operation.keepdims)(x)

    return handler


def _pad(built_in: BuiltIns, operation: Any, x: Any, constant_values: Any = None) -> Any:
    pads = [tuple(pad) for pad in operation.pad_width]
    rank = len(_tensor(x).shape)
    if len(pads) == 1:
        pads = pads * rank
    if operation.mode != "constant" or constant_values not in (None, 0):
        raise _No("with other values than 0")
    if rank not in (3, 4, 5) or any(pads[0]) or any(pads[-1]):
        raise _No("of the batch or the last axis")
    middle = pads[1:-1]
    return built_in(f"ZeroPadding{rank - 2}D", padding=middle[0] if rank == 3 else tuple(middle))(x)


_HANDLERS: dict[str, Handler] = {
    "Add": _pair("Add", lambda built_in, x, c: affine(built_in, x, offset=c)),
    "Subtract": _pair(
        "Subtract",
        lambda built_in, x, c: affine(built_in, x, offset=_negated(c)),
        lambda built_in, x, c: affine(built_in, x, -1.0, c),
    ),
    "Multiply": _pair("Multiply", lambda built_in, x, c: affine(built_in, x, c)),
    "Divide": _pair("", lambda built_in, x, c: affine(built_in, x, _inverse(c)), _no_first),
    "TrueDivide": _pair("", lambda built_in, x, c: affine(built_in, x, _inverse(c)), _no_first),
    "Power": _pair("", _power, _no_first),
    "Maximum": _pair("Maximum", _maximum),
    "Minimum": _pair("Minimum", _minimum),
    "Clip": _clip,
    "Square": _square,
    "Abs": _absolute,
    "Absolute": _absolute,
    "Negative": _negative,
    "Concatenate": _concatenate,
    "ExpandDims": _expand_dims,
    "Max": _pooled("Max"),
    "Mean": _pooled("Average"),
    "Pad": _pad,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Celu": _named("elu", alpha=1.0),
    "Elu": _layer("ELU", alpha="alpha"),
    "Exp": _named("exponential"),
    "Gelu": _named("gelu", approximate=False),
    "HardShrink": _named("hard_shrink", threshold=0.5),
    "HardSigmoid": _named("hard_sigmoid"),
    "HardSilu": _named("hard_silu"),
    "HardTanh": _named("hard_tanh"),
    "LeakyRelu": _layer("LeakyReLU", alpha="negative_slope"),
    "LogSigmoid": _named("log_sigmoid"),
    "LogSoftmax": _named("log_softmax", axis=-1),
    "ReLU": _layer(
        "ReLU", max_value="max_value", negative_slope="negative_slope", threshold="threshold"
    ),
    "Relu": _named("relu"),
    "Relu6": _named("relu6"),
    "Selu": _named("selu"),
    "Sigmoid": _named("sigmoid"),
    "Silu": _named("silu"),
    "SoftShrink": _named("soft_shrink", threshold=0.5),
    "Softmax": _layer("Softmax", axis="axis"),
    "Softplus": _named("softplus"),
    "Softsign": _named("softsign"),
    "SparsePlus": _named("sparse_plus"),
    "SparseSigmoid": _named("sparse_sigmoid"),
    "Tanh": _named("tanh"),
    "TanhShrink": _named("tanh_shrink"),
}
