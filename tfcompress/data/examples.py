"""Examples in memory: nested arrays of any shape and type, which reach the model as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tfcompress.data import nested
from tfcompress.data.description import Description
from tfcompress.data.protocol import Batch
from tfcompress.data.random_split import random_split_sentence, split_groups
from tfcompress.errors import require

# Of examples that come without others to judge by.
_TEST_FRACTION = 0.2
_SPLIT_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Examples(Description):
    """Training and held-out examples as Keras's `fit` takes arrays: nothing is rescaled.

    Attributes:
        train: nested structures of arrays (n, ...).
        test: likewise; None where nothing is held out.
        augmentation: none is known of arrays.
        convert: brings the inputs of a batch to the types that the model takes.

    Raises:
        InputError: inputs, targets and weights of different numbers of examples.
    """

    train: Batch
    test: Batch | None = None
    augmentation: str = "none"
    convert: Callable[[Any], Any] = lambda x: x

    def __post_init__(self) -> None:
        """Refuses parts that don't belong together."""
        for title, part in (("training", self.train), ("validation", self.test)):
            if part is None:
                continue
            counts = {
                what: nested.count(value, f"{title} {what}")
                for what, value in zip(("inputs", "targets", "weights"), part, strict=True)
                if value is not None
            }
            listed = ", ".join(f"{number} {what}" for what, number in counts.items())
            require(
                len(set(counts.values())) == 1,
                f"the {title} data have {listed}: each example needs one of each",
            )

    @property
    def examples(self) -> int:
        """The number of training examples."""
        return nested.count(self.train.x, "training inputs")

    @property
    def test_examples(self) -> int:
        """The number of held-out examples."""
        return 0 if self.test is None else nested.count(self.test.x, "validation inputs")

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one example's input; None where there are several inputs."""
        shape = getattr(self.train.x, "shape", None)
        return None if shape is None else tuple(shape[1:])

    @property
    def num_outputs(self) -> int | None:
        """The number of classes, or of values of a target; None if there are several targets.

        Whole numbers in one array are classes.
        """
        if self.class_names is not None:
            return len(self.class_names)
        targets = self.train.y
        if not isinstance(targets, np.ndarray):
            return None
        if targets.dtype.kind in "biu" and targets.shape[1:] in ((), (1,)):
            return max(int(targets.max()) + 1, 2)
        return int(targets.shape[-1]) if targets.ndim > 1 else 1

    def describe(self) -> str:
        """Returns one line: how many examples there are, and of what."""
        shape = self.input_shape
        details = self.details or (f"inputs of shape {shape}" if shape is not None else "")
        return (
            f"{self.name}: {self.examples:,} training and {self.test_examples:,} test "
            f"{self.units}{', ' * bool(details)}{details}"
        )

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches of an epoch, a smaller last one included."""
        return -(-self.examples // batch_size)

    def take(self, positions: np.ndarray, augmentation: str = "none", rng: Any = None) -> Batch:
        """Returns the training examples at these positions; no augmentation is known of them."""
        return self._batch(self.train, positions)

    def test_steps(self, batch_size: int) -> int:
        """Returns how many batches `test_batches` yields."""
        return sum(1 for _ in self._test_slices(batch_size))

    def _test_slices(self, batch_size: int) -> Iterator[slice]:
        """Yields the places of the held-out batches."""
        yield from nested.slices(self.test_examples, batch_size)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the held-out examples in order; nothing where there are none."""
        if self.test is not None:
            for part in self._test_slices(batch_size):
                yield self._batch(self.test, part)

    def _batch(self, part: Batch, places: np.ndarray | slice) -> Batch:
        """Returns some examples as the model takes them."""
        batch = part.at(places)
        return batch._replace(x=self.convert(batch.x))

    def sample(self, n: int, seed: Any = 0) -> Batch:
        """Returns n training examples chosen at random, in their order, or all of fewer."""
        order = np.random.default_rng(seed).permutation(self.examples)
        return self.take(np.sort(order[:n]))

    def representative(self, n: int, seed: int = 0) -> Any:
        """Returns the inputs of n training examples, chosen at random."""
        require(n >= 1, f"a representative data set needs 1 example or more; got {n}")
        return self.sample(n, seed).x

    def hold_out(self) -> Examples:
        """Returns the same data, a fifth of the training examples held out to judge by.

        They are drawn by a fixed seed, each class by itself where the targets are one whole number
        an example and each class has two or more.
        """
        require(
            self.examples >= 2,
            f"{self.name} has 1 example: give others to judge by as validation_data",
        )
        left, held_out = self.parted(_TEST_FRACTION)
        by_class = _classes(self.train.y, self.examples) is not None
        sentence = random_split_sentence(_TEST_FRACTION, _SPLIT_SEED, by_class=by_class)
        return dataclasses.replace(left, test=held_out.train, split=sentence)

    def parted(self, share: float) -> tuple[Examples, Examples]:
        """Returns the same data twice, with parts of the training examples.

        They are drawn as `hold_out` draws them.

        Args:
            share: of the training examples that the second one has.
        """
        groups = _classes(self.train.y, self.examples) or [np.arange(self.examples)]
        parts = split_groups(groups, share, _SPLIT_SEED)
        first, second = (
            dataclasses.replace(self, train=self.train.at(positions)) for positions in parts
        )
        return first, second


def _classes(targets: Any, total: int) -> list[np.ndarray] | None:
    """Returns the places of each class's examples; None if the targets aren't classes.

    Classes are whole numbers of which each occurs at least twice.
    """
    if not isinstance(targets, np.ndarray) or targets.size != total:
        return None
    if targets.dtype.kind not in "biu":
        return None
    values, members = np.unique(targets.reshape(-1), return_inverse=True)
    if len(values) < 2 or np.bincount(members).min() < 2:
        return None
    return [np.flatnonzero(members == number) for number in range(len(values))]
