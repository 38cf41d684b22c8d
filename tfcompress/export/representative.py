"""Takes representative inputs in the forms that Keras's and TensorFlow's users have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.errors import InputError, require
from tfcompress.export.model_io import ModelInput, model_inputs
from tfcompress.export.verify import check_rows
from tfcompress.runtime.rows import Rows

# Of a stream, which may have no end.
MOST = 1000


def as_rows(model: keras.Model, given: Any, argument: str) -> Rows:
    """Returns representative inputs as arrays of the model's own types, one an input.

    Args:
        model: which takes them.
        given: what Keras's `fit` takes as `x`. For a model with one input an array; for one with
            several a list of arrays in its inputs' order, or a dictionary by their names. Or a
            list, a generator, a `tf.data.Dataset` or a `PyDataset` of single rows or batches of
            these, alone or first in a tuple, as `(inputs, labels)`. Of what isn't an array the
            first `MOST` rows are taken.
        argument: what the caller calls it, for errors.

    Raises:
        InputError: it is none of these, or doesn't fit the model.
    """
    inputs = model_inputs(model)
    arrays = _whole(given, inputs, argument)
    if arrays is None:
        arrays = _stacked(given, inputs, argument)
    rows = Rows(arrays)
    check_rows(model, rows)
    return rows


def _whole(given: Any, inputs: Sequence[ModelInput], argument: str) -> list[np.ndarray] | None:
    """Returns the arrays of what isn't a stream; None of what may be one."""
    if isinstance(given, Mapping):
        values = _by_name(given, inputs, argument)
        return [
            _grey(_array(v, x, given, argument), x) for v, x in zip(values, inputs, strict=True)
        ]
    if len(inputs) == 1:
        whole = hasattr(given, "__array__") or _is_batch(given, inputs[0])
        return [_grey(_array(given, inputs[0], given, argument), inputs[0])] if whole else None
    if not isinstance(given, list | tuple):
        return None
    if len(given) == len(inputs) and all(map(_is_batch, given, inputs)):
        pairs = zip(given, inputs, strict=True)
        return [_array(value, x, given, argument) for value, x in pairs]
    # (inputs, labels), as `fit` takes them in one tuple.
    if isinstance(given, tuple) and given and isinstance(given[0], list | tuple | Mapping):
        return _whole(given[0], inputs, argument)
    return None


def _grey(array: np.ndarray, taken: ModelInput) -> np.ndarray:
    """Returns a batch with a last axis of 1 that it lacks, as of grey images, as `fit` adds it."""
    if taken.shape[-1] != 1 or array.ndim != len(taken.shape) - 1 or array.shape[-1:] == (1,):
        return array  # The last case: one image that lacks the first axis.
    sizes = zip(taken.shape[1:-1], array.shape[1:], strict=True)
    return array[..., None] if all(size in (None, real) for size, real in sizes) else array


def _is_batch(value: Any, given: ModelInput) -> bool:
    """Returns whether a value is a batch: an array, numbers in lists, or rows of one size."""
    try:
        return np.asarray(value, given.dtype).ndim == len(given.shape)
    except (TypeError, ValueError):
        return False


def _by_name(given: Mapping[Any, Any], inputs: Sequence[ModelInput], argument: str) -> list[Any]:
    names = [x.name for x in inputs]
    require(
        set(given) == set(names),
        f"{argument} needs the model's inputs by their names, {', '.join(names)}; got "
        f"{', '.join(map(str, given))}",
    )
    return [given[name] for name in names]


def _array(value: Any, taken: ModelInput, given: Any, argument: str) -> np.ndarray:
    """Returns numbers in the type of the input that takes them."""
    try:
        return np.asarray(value, taken.dtype)
    except (TypeError, ValueError) as error:
        raise _unknown(argument, given) from error


def _stacked(given: Any, inputs: Sequence[ModelInput], argument: str) -> list[np.ndarray]:
    """Returns the rows of a list or stream.

    Args:
        given: a list or stream of rows, of batches of them, or of tuples that begin with these.
        inputs: of the model.
        argument: as of `as_rows`.
    """
    batches: list[list[np.ndarray]] = []
    count = 0
    for element in _elements(given, argument):
        values = _of_element(element, inputs, given, argument)
        arrays = [_array(v, x, given, argument) for v, x in zip(values, inputs, strict=True)]
        batches.append(_as_batch(arrays, inputs, argument))
        count += len(batches[-1][0])
        if count >= MOST:
            break
    if not batches:
        raise InputError(f"{argument} is empty: give real images")
    columns = list(zip(*batches, strict=True))
    for column, x in zip(columns, inputs, strict=True):
        if len({batch.shape[1:] for batch in column}) > 1:
            which = f" for '{x.name}'" if len(inputs) > 1 else ""
            raise InputError(
                f"{argument} has images of different shapes{which}: give them one size"
            )
    return [np.concatenate(column)[:MOST] for column in columns]


def _of_element(
    element: Any, inputs: Sequence[ModelInput], given: Any, argument: str
) -> Sequence[Any]:
    """Returns a stream's element without the labels and weights that may stand behind it."""
    if isinstance(element, Mapping):
        return _by_name(element, inputs, argument)
    if len(inputs) == 1:
        first = element[0] if isinstance(element, tuple | list) and element else element
        return _by_name(first, inputs, argument) if isinstance(first, Mapping) else [first]
    if isinstance(element, tuple | list) and element:
        if isinstance(element[0], Mapping):
            return _by_name(element[0], inputs, argument)
        if isinstance(element[0], tuple | list) and len(element[0]) == len(inputs):
            return list(element[0])
        if len(element) == len(inputs):
            return list(element)
    names = ", ".join(x.name for x in inputs)
    raise InputError(
        f"{argument} has an element that isn't {len(inputs)} inputs: give dictionaries by the "
        f"names {names}, or lists in this order, alone or as (inputs, labels)"
    )


def _as_batch(
    arrays: list[np.ndarray], inputs: Sequence[ModelInput], argument: str
) -> list[np.ndarray]:
    """Returns the arrays of an element as batches: one row gets an axis before it."""
    missing = {len(x.shape) - array.ndim for array, x in zip(arrays, inputs, strict=True)}
    if missing == {0}:
        return arrays
    if missing == {1}:
        return [array[None] for array in arrays]
    ranks = ", ".join(str(len(x.shape) - 1) for x in inputs)
    raise InputError(
        f"{argument} has an element of shape {', '.join(str(array.shape) for array in arrays)}; "
        f"the model takes images of {ranks} dimensions, alone or in batches of "
        f"{', '.join(str(len(x.shape)) for x in inputs)}"
    )


def _elements(given: Any, argument: str) -> Iterator[Any]:
    if isinstance(given, keras.utils.PyDataset):
        return (given[number] for number in range(len(given)))
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
        return iter(given)
    if callable(given):  # As TensorFlow's converter takes them.
        return iter(given())
    raise _unknown(argument, given)


def _unknown(argument: str, given: Any) -> InputError:
    return InputError(
        f"{argument} takes real inputs as fit does: an array (images, height, width, channels) or "
        "of the model's own shape, a list or dictionary of arrays for several inputs, or a list, a "
        "generator or a tf.data.Dataset of rows, batches or (inputs, labels); got "
        f"{type(given).__name__}"
    )
