"""Lists which activations are the same in Keras 3 and tf_keras, and what replaces the others.

The tests compare every entry of the tables on a grid of values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfcompress.bridge.built_in import BuiltIns, activation, affine, clip

# Equal under the same name.
SAME = frozenset(
    {
        "elu",
        "exponential",
        "gelu",
        "leaky_relu",
        "linear",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softmax",
        "softplus",
        "softsign",
        "swish",
        "tanh",
    }
)

# Keras 3's name to tf_keras's for the same function.
RENAMED = {"celu": "elu"}

Steps = Callable[[BuiltIns, Any], Any]


def _hard_sigmoid(built_in: BuiltIns, x: Any) -> Any:
    return affine(
        built_in, built_in("ReLU", max_value=6.0)(affine(built_in, x, offset=3.0)), scale=1 / 6
    )


def _hard_silu(built_in: BuiltIns, x: Any) -> Any:
    return built_in("Multiply")([x, _hard_sigmoid(built_in, x)])


def _hard_tanh(built_in: BuiltIns, x: Any) -> Any:
    return clip(built_in, x, -1.0, 1.0)


def _log_sigmoid(built_in: BuiltIns, x: Any) -> Any:
    return affine(built_in, activation(built_in, affine(built_in, x, -1.0), "softplus"), -1.0)


def _soft_shrink(built_in: BuiltIns, x: Any) -> Any:
    above = built_in("ReLU")(affine(built_in, x, offset=-0.5))
    below = built_in("ReLU")(affine(built_in, x, -1.0, -0.5))
    return built_in("Subtract")([above, below])


def _hard_shrink(built_in: BuiltIns, x: Any) -> Any:
    above = built_in("ReLU", threshold=0.5)(x)
    below = built_in("ReLU", threshold=0.5)(affine(built_in, x, -1.0))
    return built_in("Subtract")([above, below])


def _tanh_shrink(built_in: BuiltIns, x: Any) -> Any:
    return built_in("Subtract")([x, activation(built_in, x, "tanh")])


def _sparse_plus(built_in: BuiltIns, x: Any) -> Any:
    bend = built_in("ReLU", max_value=1.0)(affine(built_in, x, 0.5, 0.5))
    rise = built_in("ReLU")(affine(built_in, x, offset=-1.0))
    return built_in("Add")([built_in("Multiply")([bend, bend]), rise])


def _sparse_sigmoid(built_in: BuiltIns, x: Any) -> Any:
    return built_in("ReLU", max_value=1.0)(affine(built_in, x, 0.5, 0.5))


# Keras 3's activations, made of built-in layers of tf_keras.
TO_TF_KERAS: dict[str, Steps] = {
    "hard_sigmoid": _hard_sigmoid,  # tf_keras has another function of this name.
    "hard_shrink": _hard_shrink,
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "hard_tanh": _hard_tanh,
    "log_sigmoid": _log_sigmoid,
    "soft_shrink": _soft_shrink,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _sparse_sigmoid,
    "tanh_shrink": _tanh_shrink,
}


def _old_hard_sigmoid(built_in: BuiltIns, x: Any) -> Any:
    return built_in("ReLU", max_value=1.0)(affine(built_in, x, 0.2, 0.5))


# tf_keras's activations, made of built-in layers of Keras 3.
TO_KERAS: dict[str, Steps] = {"hard_sigmoid": _old_hard_sigmoid}
