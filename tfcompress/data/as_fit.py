"""Turns what a user gives Keras's `fit` into data to train, calibrate and judge with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import tree

from tfcompress.data import nested
from tfcompress.data.dataset import Dataset
from tfcompress.data.examples import Examples
from tfcompress.data.pipelines import Batches, Stream, is_stream
from tfcompress.data.protocol import Batch, joined
from tfcompress.errors import InputError, require

_FORMS = (
    "(x, y) or (x, y, sample_weight) of arrays, a tf.data pipeline, a PyDataset, a DataLoader or a "
    "generator, as fit takes them"
)


def as_fit(
    data: Any,
    validation_data: Any = None,
    *,
    inputs: int = 1,
    outputs: int = 1,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    convert: Callable[[Any], Any] = lambda x: x,
    rank: int | None = None,
    batch_size: int = 64,
    hold_out: bool = True,
) -> Dataset | Examples | Stream:
    """Reads data as Keras's `fit` takes them; arrays reach the model in the user's own range.

    Args:
        data: `(x, y)` or `(x, y, sample_weight)` of nested arrays, x alone, or a stream of such
            batches; or a pair of training and held-out data; or a `Dataset`.
        validation_data: what to judge by; None holds out a fifth of arrays, and nothing of a
            stream.
        inputs: how many inputs the model has: of one, a list is an array.
        outputs: likewise.
        steps_per_epoch: batches of an epoch of a stream; None for all that it has.
        validation_steps: likewise of held-out data.
        convert: brings the inputs of a batch to the types that the model takes.
        rank: axes of the model's first input, the examples' included; None if it isn't known.
        hold_out: whether a fifth of arrays is held out where there are no others to judge by.
        batch_size: of a tf.data pipeline that yields one example at a time, as its rank tells.

    Returns:
        A `Dataset`, `Examples` or a `Stream`.

    Raises:
        InputError: the data are in none of these forms, or parts of them don't belong together.
    """
    if isinstance(data, Dataset | Examples | Stream):
        require(validation_data is None, "the data have held-out examples: leave validation_data")
        return data
    if validation_data is None and _is_pair(data, inputs):
        data, validation_data = data
    data, validation_data = (
        _batched(stream, rank, batch_size) for stream in (data, validation_data)
    )
    if is_stream(data):
        test = None
        if validation_data is not None:
            test = _batches(validation_data, validation_steps, inputs, outputs, convert)
        return Stream(train=Batches(data, steps_per_epoch, "the stream", convert), test=test)
    require(steps_per_epoch is None, "steps_per_epoch is for streams; arrays end by themselves")
    examples = Examples(train=_arrays(data, "data", inputs, outputs), convert=convert)
    if validation_data is None:
        return examples.hold_out() if hold_out else examples
    if is_stream(validation_data):
        test_part = joined(Batches(validation_data, validation_steps, "validation_data"))
    else:
        test_part = _arrays(validation_data, "validation_data", inputs, outputs)
    return Examples(train=examples.train, test=test_part, convert=convert)


def _batches(
    data: Any, steps: int | None, inputs: int, outputs: int, convert: Callable[[Any], Any]
) -> Batches:
    """Returns held-out data beside a stream as batches."""
    if is_stream(data):
        return Batches(data, steps, "validation_data", convert)
    held_out = _arrays(data, "validation_data", inputs, outputs)
    examples = Examples(train=held_out, test=held_out)
    return Batches(
        lambda: (batch.as_fit() for batch in examples.test_batches(_JUDGED)),
        steps,
        "validation_data",
        convert,
    )


def _batched(data: Any, rank: int | None, batch_size: int) -> Any:
    """Returns a tf.data pipeline of single examples in batches, and other data as they are."""
    spec = getattr(data, "element_spec", None)
    if spec is None or rank is None or not hasattr(data, "as_numpy_iterator"):
        return data
    first = tree.flatten(spec[0] if isinstance(spec, tuple) else spec)[0]
    shape = getattr(first, "shape", None)
    single = shape is not None and shape.rank == rank - 1
    return data.batch(batch_size) if single else data


# Held-out examples at a time, where the user gives arrays.
_JUDGED = 256


def _is_pair(data: Any, inputs: int) -> bool:
    """Says whether it is training and held-out data, and not x and y.

    With several inputs, x is itself a tuple: a pair's parts begin with one.
    """
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    if all(map(is_stream, data)):
        return True
    structures = (dict, tuple, list)
    for part in data:
        if not isinstance(part, tuple | list) or len(part) not in (2, 3):
            return False
        if not all(hasattr(piece, "shape") or isinstance(piece, structures) for piece in part):
            return False
    return inputs == 1 or isinstance(data[0][0], structures)


def _arrays(data: Any, what: str, inputs: int, outputs: int) -> Batch:
    """Reads (x,), (x, y) or (x, y, sample_weight), or x alone."""
    if isinstance(data, str | bytes) or data is None or isinstance(data, int | float):
        raise InputError(f"{what} must be {_FORMS}; got {type(data).__name__}")
    alone = not isinstance(data, tuple | list) or (
        isinstance(data, list) and not any(hasattr(part, "shape") for part in data)
    )
    parts = (data,) if alone else tuple(data)
    require(1 <= len(parts) <= 3, f"{what} must be {_FORMS}; got {len(parts)} parts")
    titles = (f"x of {what}", f"y of {what}", f"sample_weight of {what}")
    numbers = (inputs, outputs, outputs)
    read = [
        None if part is None else nested.arrays(part, title, parts=number)
        for part, title, number in zip(parts, titles, numbers, strict=False)
    ]
    return Batch(*read)
