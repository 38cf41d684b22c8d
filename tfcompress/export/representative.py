"""Takes representative images in the forms that Keras's and TensorFlow's users have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from tfcompress.errors import InputError
from tfcompress.export.verify import check_images
from tfcompress.graph.nodes import functional

# Of a stream, which may have no end.
MOST = 1000


def as_images(model: keras.Model, given: Any, argument: str) -> np.ndarray:
    """Returns representative images as an array: float32 (images, height, width, channels).

    Args:
        model: which takes them.
        given: an array; or a list, a generator, a `tf.data.Dataset` or a `PyDataset` of images or
            batches of them, alone or first in a tuple, as `(images, labels)`. Of what isn't an
            array the first `MOST` images are taken.
        argument: what the caller calls it, for errors.

    Raises:
        InputError: it is none of these, or its images don't fit the model.
    """
    model = functional(model)
    rank = len(model.inputs[0].shape)
    if len(model.inputs) == 1 and not hasattr(given, "__array__") and not _is_array(given, rank):
        given = _stacked(given, rank, argument)
    try:
        images = np.asarray(given, "float32")
    except (TypeError, ValueError) as error:
        raise _unknown(argument, given) from error
    check_images(model, images)
    return images


def _is_array(given: Any, rank: int) -> bool:
    """Returns whether a list is a batch: numbers in lists, or images of one size."""
    try:
        return isinstance(given, (list, tuple)) and np.asarray(given, "float32").ndim == rank
    except (TypeError, ValueError):
        return False


def _stacked(given: Any, rank: int, argument: str) -> np.ndarray:
    """Returns the images of a list or stream.

    Args:
        given: a list or stream of images, of batches of them, or of tuples that begin with these.
        rank: of a batch.
        argument: as of `as_images`.
    """
    batches: list[np.ndarray] = []
    count = 0
    for element in _elements(given, argument):
        first = element[0] if isinstance(element, (tuple, list)) and element else element
        try:
            values = np.asarray(first, "float32")
        except (TypeError, ValueError) as error:
            raise _unknown(argument, given) from error
        if values.ndim not in (rank - 1, rank):
            raise InputError(
                f"{argument} has an element of shape {values.shape}; the model takes images of "
                f"{rank - 1} dimensions, alone or in batches of {rank}"
            )
        batches.append(values if values.ndim == rank else values[None])
        count += len(batches[-1])
        if count >= MOST:
            break
    if len({batch.shape[1:] for batch in batches}) > 1:
        raise InputError(f"{argument} has images of different shapes: give them one size")
    if not batches:
        raise InputError(f"{argument} is empty: give real images")
    return np.concatenate(batches)[:MOST]


def _elements(given: Any, argument: str) -> Iterator[Any]:
    if isinstance(given, keras.utils.PyDataset):
        return (given[number] for number in range(len(given)))
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, dict)):
        return iter(given)
    if callable(given):  # As TensorFlow's converter takes them.
        return iter(given())
    raise _unknown(argument, given)


def _unknown(argument: str, given: Any) -> InputError:
    return InputError(
        f"{argument} takes real images: an array (images, height, width, channels), or a list, a "
        "generator or a tf.data.Dataset of images or (images, labels); got "
        f"{type(given).__name__}"
    )
