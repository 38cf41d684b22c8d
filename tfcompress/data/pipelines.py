"""Streams of batches: tf.data, `PyDataset`, PyTorch's `DataLoader`, generators.

They are read as they come, in the user's own order and batches, and never held in memory whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import keras
import numpy as np
from keras import tree

from tfcompress.data import nested
from tfcompress.data.description import Description
from tfcompress.data.protocol import Batch, joined
from tfcompress.errors import require

# What tf.data's `cardinality()` answers for a pipeline that repeats for ever, or isn't known.
_INFINITE, _UNKNOWN = -1, -2
# What `next` gives behind the last batch.
_END = object()


def is_stream(value: Any) -> bool:
    """Says whether a value yields batches, and isn't an array or a structure of arrays."""
    if isinstance(value, keras.utils.PyDataset) or hasattr(value, "as_numpy_iterator"):
        return True
    if hasattr(value, "__array__") or isinstance(value, dict | list | tuple | str | bytes):
        return False
    return callable(value) or hasattr(value, "__next__") or hasattr(value, "__iter__")


class Batches:
    """Batches that can be passed through again and again, their number known.

    Args:
        source: a tf.data pipeline, a `PyDataset`, a `DataLoader` or another iterable with a
            length, a generator, or a function that returns one.
        steps: batches of an epoch; None for all that there are.
        title: for errors: which data they are.
        convert: brings the inputs of a batch to the types that the model takes.

    Raises:
        InputError: a generator's number of steps isn't given.
    """

    def __init__(
        self,
        source: Any,
        steps: int | None,
        title: str,
        convert: Callable[[Any], Any] = lambda x: x,
    ) -> None:
        self.convert = convert
        # What the user's code runs in as it is asked for a batch: the command makes errors a line.
        self.guard: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        self._source = source
        self._title = title
        self._wanted = steps
        # A generator can be passed through once: each epoch goes on where the last one ended.
        self._endless: Iterator[Any] | None = source if hasattr(source, "__next__") else None
        self._asked, self._kept = 0, Batch(None)
        require(steps is None or steps >= 1, f"the steps of {title} must be 1 or more; got {steps}")
        require(
            self._endless is None or steps is not None,
            f"{title} is a generator, whose end isn't known: give {_steps_argument(title)}, or a "
            "function that makes a new generator",
        )

    @functools.cached_property
    def steps(self) -> int:
        """The number of batches of an epoch."""
        if self._wanted is not None:
            return self._wanted
        known = self._length()
        if known is None:
            # Nothing tells it but to pass through once: a schedule needs the number of steps.
            known = sum(1 for _ in self._guarded(self._raw))
        require(known > 0, f"{self._title} yields nothing")
        return known

    def _length(self) -> int | None:
        """Returns what the source says of its length."""
        cardinality = getattr(self._source, "cardinality", None)
        if cardinality is not None:
            number = int(cardinality())
            require(
                number != _INFINITE,
                f"{self._title} repeats for ever: leave out repeat(), or give "
                f"{_steps_argument(self._title)}",
            )
            return None if number == _UNKNOWN else number
        try:
            return len(self._source)
        except TypeError:
            return None

    def _raw(self) -> Iterator[Any]:
        """Yields what the source yields, in one pass."""
        source = self._source
        if hasattr(source, "as_numpy_iterator"):
            return iter(source.as_numpy_iterator())
        if isinstance(source, keras.utils.PyDataset):
            return (source[index] for index in range(len(source)))
        return iter(source() if callable(source) and not hasattr(source, "__iter__") else source)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches of one epoch as NumPy arrays.

        Raises:
            InputError: there are fewer than an epoch's steps, or something in them is no batch.
        """
        number, steps = 0, self.steps
        for batch in itertools.islice(self._pass(), steps):
            number += 1
            yield self._batch(batch)
        if isinstance(self._source, keras.utils.PyDataset):
            self._source.on_epoch_end()  # As Keras does: many shuffle there.
        require(number == steps, f"{self._title} ended after {number} of {steps} steps")

    def _pass(self) -> Iterator[Any]:
        """Yields a pass's batches; of a generator those that follow."""
        endless = self._endless
        return self._guarded(self._raw if endless is None else lambda: endless)

    def _guarded(self, begin: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Yields what an iterator yields, each batch asked for within the guard."""
        with self.guard():
            batches = begin()
        while True:
            with self.guard():
                batch = next(batches, _END)
            if batch is _END:
                return
            yield batch

    def first(self, examples: int) -> Batch:
        """Returns the first examples of an epoch; a generator yields them again in training.

        They are kept: what calibrates, tells the targets apart and judges asks for them in turn,
        and a slow source is read once.
        """
        if self._asked < examples:
            self._asked, self._kept = examples, self._first(examples)
        return self._kept.at(slice(0, examples))

    def _first(self, examples: int) -> Batch:
        """Reads the first examples, or all of fewer, from the source."""
        parts: list[Batch] = []
        read: list[Any] = []
        found = 0
        for raw in itertools.islice(self._pass(), self._wanted):
            read.append(raw)
            parts.append(self._batch(raw))
            found += nested.count(parts[-1].x, self._title)
            if found >= examples:
                break
        if self._endless is not None:
            self._endless = itertools.chain(read, self._endless)
        require(bool(parts), f"{self._title} yields nothing")
        return joined(parts).at(slice(0, examples))

    def _batch(self, raw: Any) -> Batch:
        """Reads what the source yields: x, (x,), (x, y) or (x, y, sample_weight)."""
        raw = raw if isinstance(raw, tuple | list) else (raw,)
        require(
            1 <= len(raw) <= 3,
            f"{self._title} must yield (x, y) or (x, y, sample_weight); got {len(raw)} parts",
        )
        batch = Batch(*(None if p is None else tree.map_structure(nested.as_numpy, p) for p in raw))
        return batch._replace(x=self.convert(batch.x))


def _steps_argument(title: str) -> str:
    return "validation_steps" if title.startswith("validation") else "steps_per_epoch"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Stream(Description):
    """Training and held-out batches of a user's own pipeline.

    Attributes:
        train: the batches of an epoch.
        test: those to judge by; None if there are none.
        augmentation: none is known of a stream.
    """

    train: Batches
    test: Batches | None = None
    name: str = "the stream"
    augmentation: str = "none"
    # How many are held out isn't known before they are read.
    test_examples: ClassVar[None] = None

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one example's input; None where there are several inputs."""
        x = self.sample(1).x
        return x.shape[1:] if isinstance(x, np.ndarray) else None

    @property
    def num_outputs(self) -> int | None:
        """The number of classes; of other data it isn't known."""
        return None if self.class_names is None else len(self.class_names)

    def describe(self) -> str:
        """Returns one line: how many batches there are, and of what."""
        shape = self.input_shape
        held_out = "none" if self.test is None else f"{self.test.steps:,}"
        return f"{self.name}: {self.train.steps:,} training and {held_out} test batches" + (
            f", inputs of shape {shape}" if shape is not None else ""
        )

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches of an epoch, as the stream has them."""
        return self.train.steps

    def test_steps(self, batch_size: int) -> int:
        """Returns how many batches `test_batches` yields."""
        return 0 if self.test is None else self.test.steps

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the held-out batches, as the stream has them."""
        if self.test is not None:
            yield from self.test

    def sample(self, n: int, seed: Any = 0) -> Batch:
        """Returns the first n training examples: a stream has its own order."""
        return self.train.first(n)

    def representative(self, n: int, seed: int = 0) -> Any:
        """Returns the inputs of the first n training examples."""
        require(n >= 1, f"a representative data set needs 1 example or more; got {n}")
        return self.sample(n).x
