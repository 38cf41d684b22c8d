"""Checks the tensors and constants that an operation of `keras.ops` is called with."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfcompress.graph.nodes import is_symbolic


@dataclasses.dataclass(frozen=True)
class Rows:
    """Stands for a tensor of (batch * rows, ...), whose values are one of (batch, rows, ...).

    A layer of tf_keras can't move values between the batch and other axes, but one that works on
    the last axis needs no such move.
    """

    tensor: Any


class UnsupportedError(Exception):
    """Says that no built-in layers do an operation with these arguments.

    `operations.stand_in` makes a `NoBuiltInLayerError` of it, which names the operation.
    """


def tensor(value: Any) -> Any:
    """Returns the value if it is an ordinary tensor of the model, or raises."""
    if not is_symbolic(value):
        raise UnsupportedError("one of its inputs is no ordinary tensor of the model")
    return value


def constant(x: Any, value: Any) -> Any:
    """Returns a number, or nested lists of numbers, that a tensor can be scaled or shifted by.

    Args:
        x: the tensor that the operation has beside the constant; it must be of floats.
        value: the constant. It mustn't widen the tensor, nor differ between examples.
    """
    if isinstance(value, Rows):
        raise UnsupportedError("its input was reshaped across the batch")
    if "float" not in str(getattr(x.dtype, "name", x.dtype)):
        raise UnsupportedError("of whole numbers with constants")
    array = np.asarray(value, "float64")
    if array.size == 1 and array.ndim < 2:
        return float(array.reshape(()))
    sizes = tuple(x.shape)[max(1, len(x.shape) - array.ndim) :]
    inner = array.shape[-len(sizes) :] if array.ndim >= len(sizes) else array.shape
    outer = array.shape[: array.ndim - len(inner)]
    fits = all(a in (1, b) for a, b in zip(inner[::-1], sizes[::-1], strict=False))
    if array.ndim > len(x.shape) or not fits or any(size != 1 for size in outer):
        raise UnsupportedError(
            f"with a constant of shape {array.shape}, which isn't one for each example"
        )
    return array.tolist()


def number(value: Any) -> float:
    """Returns what `constant` gave if it is one number, or raises."""
    if isinstance(value, list):
        raise UnsupportedError("with a bound that isn't one number")
    return float(value)
