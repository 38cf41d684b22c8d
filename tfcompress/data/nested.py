"""Nested structures of arrays: checked, counted, cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import InputError, require


def arrays(value: Any, what: str, *, parts: int = 1) -> Any:
    """Converts what a user holds to NumPy arrays in the same nested structure.

    Args:
        value: an array or tensor of any library, a pandas table, a list of numbers, or a dict,
            tuple or list of such.
        what: for errors.
        parts: how many arrays are expected: of one, a list is the array itself.

    Returns:
        The structure; 64-bit floats become 32-bit ones, as Keras would make them.

    Raises:
        InputError: something in it is no array of numbers or text, or has no examples.
    """
    if isinstance(value, dict):
        return {key: arrays(part, f"{what} '{key}'") for key, part in value.items()}
    if isinstance(value, list | tuple) and parts > 1 and len(value) == parts:
        return tuple(arrays(part, f"{what} {i}") for i, part in enumerate(value, 1))
    return _array(value, what)


def _array(value: Any, what: str) -> np.ndarray:
    """Converts one array."""
    try:
        array = as_numpy(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} can't be read as one array: {error}") from error
    require(
        array.ndim > 0 and array.dtype.kind in "biufUSO" and _is_plain(array),
        f"{what} must be an array of numbers or text; got {type(value).__name__} of shape "
        f"{array.shape} and type {array.dtype}",
    )
    require(len(array) > 0, f"{what} has no examples: its shape is {array.shape}")
    return array


def as_numpy(value: Any) -> np.ndarray:
    """Returns an array or a tensor of any library; 64-bit floats become 32-bit ones."""
    if hasattr(value, "detach"):  # A tensor of PyTorch, perhaps on a GPU.
        value = value.detach().cpu()
    array = np.asarray(value)
    return array.astype("float32") if array.dtype == np.float64 else array


def _is_plain(array: np.ndarray) -> bool:
    """Says whether an array of objects holds text, as pandas has it; others are plain anyway."""
    return array.dtype != object or all(isinstance(word, str | bytes) for word in array.flat)


def count(value: Any, what: str) -> int:
    """Returns the number of examples in a structure.

    Raises:
        InputError: its arrays have different ones.
    """
    counts = {len(array) for array in keras.tree.flatten(value)}
    require(
        len(counts) == 1,
        f"{what} has arrays of {' and '.join(map(str, sorted(counts)))} examples: they must have "
        "the same number",
    )
    return int(counts.pop())


def take(value: Any, positions: np.ndarray | slice) -> Any:
    """Returns the examples at these positions, in the same structure."""
    return keras.tree.map_structure(lambda array: array[positions], value)


def join(values: list[Any]) -> Any:
    """Returns structures of the same form as one, the examples behind one another."""
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *values)


def slices(examples: int, batch_size: int) -> Iterator[slice]:
    """Yields the places of batches; the last one may be smaller."""
    for start in range(0, examples, batch_size):
        yield slice(start, min(start + batch_size, examples))
