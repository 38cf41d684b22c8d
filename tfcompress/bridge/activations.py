"""Which activations are the same in Keras 3 and tf_keras, and what stands in for the others.

The tables are measured: the tests compare every entry on a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfcompress.bridge.stock import Stock, activation, affine, clip

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

Steps = Callable[[Stock, Any], Any]


def _hard_sigmoid(stock: Stock, x: Any) -> Any:
    return affine(stock, stock("ReLU", max_value=6.0)(affine(stock, x, offset=3.0)), scale=1 / 6)


def _hard_silu(stock: Stock, x: Any) -> Any:
    return stock("Multiply")([x, _hard_sigmoid(stock, x)])


def _hard_tanh(stock: Stock, x: Any) -> Any:
    return clip(stock, x, -1.0, 1.0)


def _log_sigmoid(stock: Stock, x: Any) -> Any:
    return affine(stock, activation(stock, affine(stock, x, -1.0), "softplus"), -1.0)


def _soft_shrink(stock: Stock, x: Any) -> Any:
    above = stock("ReLU")(affine(stock, x, offset=-0.5))
    below = stock("ReLU")(affine(stock, x, -1.0, -0.5))
    return stock("Subtract")([above, below])


def _hard_shrink(stock: Stock, x: Any) -> Any:
    above = stock("ReLU", threshold=0.5)(x)
    below = stock("ReLU", threshold=0.5)(affine(stock, x, -1.0))
    return stock("Subtract")([above, below])


def _tanh_shrink(stock: Stock, x: Any) -> Any:
    return stock("Subtract")([x, activation(stock, x, "tanh")])


def _sparse_plus(stock: Stock, x: Any) -> Any:
    bend = stock("ReLU", max_value=1.0)(affine(stock, x, 0.5, 0.5))
    rise = stock("ReLU")(affine(stock, x, offset=-1.0))
    return stock("Add")([stock("Multiply")([bend, bend]), rise])


def _sparse_sigmoid(stock: Stock, x: Any) -> Any:
    return stock("ReLU", max_value=1.0)(affine(stock, x, 0.5, 0.5))


# Of Keras 3, made of stock layers of tf_keras.
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


def _old_hard_sigmoid(stock: Stock, x: Any) -> Any:
    return stock("ReLU", max_value=1.0)(affine(stock, x, 0.2, 0.5))


# Of tf_keras, made of stock layers of Keras 3.
TO_KERAS: dict[str, Steps] = {"hard_sigmoid": _old_hard_sigmoid}
