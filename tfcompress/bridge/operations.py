"""Writes operations of `keras.ops` in built-in layers: merge, rescaling and shape layers.

tf_keras would turn an operation on its tensors into a `TFOpLambda`, which TFMOT doesn't take, so
each is written in built-in layers, or refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfcompress.bridge import shape_operations as shapes
from tfcompress.bridge.activations import TO_TF_KERAS
from tfcompress.bridge.built_in import BuiltIns, activation, affine, clip
from tfcompress.bridge.errors import NoBuiltInLayerError
from tfcompress.bridge.operands import Rows, UnsupportedError, constant, number, tensor
from tfcompress.bridge.shape_operations import Handler
from tfcompress.graph.nodes import is_symbolic


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
        except UnsupportedError as reason:
            raise NoBuiltInLayerError(operation, str(reason)) from None

    return steps


def _merge(built_in: BuiltIns, kind: str, x: Any, y: Any) -> Any:
    if len(x.shape) != len(y.shape):
        raise UnsupportedError("of tensors with different numbers of axes")
    return built_in(kind)([x, y])


def _pair(merge: str, with_constant: Handler, constant_first: Handler | None = None) -> Handler:
    """Returns the steps for an operation on two tensors, or on a tensor and a constant.

    Args:
        merge: the merge layer for two tensors; empty if there is none.
        with_constant: steps for a tensor and a constant.
        constant_first: those for a constant and a tensor, if they differ.
    """

    def handler(built_in: BuiltIns, operation: Any, x1: Any, x2: Any) -> Any:
        if isinstance(x1, Rows) and not isinstance(x2, Rows) and not is_symbolic(x2):
            return Rows(handler(built_in, operation, x1.tensor, x2))
        if is_symbolic(x1) and is_symbolic(x2):
            if not merge:
                raise UnsupportedError("of two tensors")
            return _merge(built_in, merge, x1, x2)
        if is_symbolic(x1):
            return with_constant(built_in, x1, constant(x1, x2))
        x2 = tensor(x2)
        return (constant_first or with_constant)(built_in, x2, constant(x2, x1))

    return handler


def _negated(value: Any) -> Any:
    return (-np.asarray(value)).tolist()


def _inverse(value: Any) -> Any:
    if not np.all(value):
        raise UnsupportedError("division by 0")
    return (1 / np.asarray(value)).tolist()


def _power(built_in: BuiltIns, x: Any, exponent: Any) -> Any:
    if exponent != 2:
        raise UnsupportedError(f"with the exponent {exponent}")
    return built_in("Multiply")([x, x])


def _no_first(built_in: BuiltIns, x: Any, value: Any) -> Any:
    raise UnsupportedError("of a constant and a tensor")


def _maximum(built_in: BuiltIns, x: Any, bound: Any) -> Any:
    low = number(bound)
    x = built_in("ReLU")(affine(built_in, x, offset=-low) if low else x)
    return affine(built_in, x, offset=low) if low else x


def _minimum(built_in: BuiltIns, x: Any, bound: Any) -> Any:
    high = number(bound)
    return affine(built_in, built_in("ReLU")(affine(built_in, x, -1.0, high)), -1.0, high)


def _clip(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    x = tensor(x)
    low, high = constant(x, operation.x_min), constant(x, operation.x_max)
    return clip(built_in, x, number(low), number(high))


def _square(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    return built_in("Multiply")([tensor(x), x])


def _absolute(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    constant(tensor(x), 0)
    return built_in("Maximum")([x, affine(built_in, x, -1.0)])


def _negative(built_in: BuiltIns, operation: Any, x: Any) -> Any:
    constant(tensor(x), 0)
    return affine(built_in, x, -1.0)


def _named(name: str, **settings: Any) -> Handler:
    """Returns the steps for an activation function, if the operation has these settings."""

    def handler(built_in: BuiltIns, operation: Any, x: Any) -> Any:
        for key, value in settings.items():
            if getattr(operation, key) != value:
                raise UnsupportedError(
                    f"with {key}={getattr(operation, key)}; only {value} can be converted"
                )
        if isinstance(x, Rows):
            return Rows(handler(built_in, operation, x.tensor))
        if name in TO_TF_KERAS:
            return TO_TF_KERAS[name](built_in, tensor(x))
        return activation(built_in, tensor(x), name)

    return handler


def _layer(kind: str, **settings: str) -> Handler:
    """Returns the steps for a layer, of which each argument is an attribute of the operation."""

    def handler(built_in: BuiltIns, operation: Any, x: Any) -> Any:
        return built_in(kind, **{key: getattr(operation, name) for key, name in settings.items()})(
            tensor(x)
        )

    return handler


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
    "Concatenate": shapes.concatenate,
    "ExpandDims": shapes.expand_dims,
    "Max": shapes.pooled("Max"),
    "Mean": shapes.pooled("Average"),
    "Pad": shapes.pad,
    "Reshape": shapes.reshape,
    "Squeeze": shapes.squeeze,
    "Transpose": shapes.transpose,
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
