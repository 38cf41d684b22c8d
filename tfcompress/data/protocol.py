"""What training, calibration and judging see of any data: batches as Keras's `fit` takes them."""

# Annotations are values here, not texts: pdoc can't look up those of a NamedTuple.
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from tfcompress.data import nested


class Batch(NamedTuple):
    """Some examples, each part of any nested structure of arrays (n, ...).

    Attributes:
        x: the model's inputs.
        y: the targets; None if the model needs none.
        sample_weight: the examples' weights in the loss; None if all count alike.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None

    def as_fit(self) -> tuple[Any, ...]:
        """Returns what Keras takes of a batch: `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
        if self.sample_weight is not None:
            return tuple(self)
        return (self.x,) if self.y is None else (self.x, self.y)

    def at(self, places: np.ndarray | slice) -> "Batch":
        """Returns the examples at these places."""
        return Batch(*(None if part is None else nested.take(part, places) for part in self))


def joined(batches: Iterable[Batch]) -> Batch:
    """Returns the examples of several batches behind one another; what one lacks, all lack."""
    return Batch(
        *(
            None if any(part is None for part in parts) else nested.join(list(parts))
            for parts in zip(*batches, strict=True)
        )
    )


class Data(Protocol):
    """Examples to train on and others to judge by: images with labels are one kind of them."""

    @property
    def name(self) -> str:
        """What errors and reports call the data."""
        ...

    @property
    def augmentation(self) -> str:
        """What is done to training images, one of `config.AUGMENTATIONS`; `none` for others."""
        ...

    @property
    def test(self) -> Any:
        """The held-out examples in a form of the data's own; None if there are none."""
        ...

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches of an epoch, a smaller last one included.

        Args:
            batch_size: examples a batch; streams have batches already and don't heed it.
        """
        ...

    def test_steps(self, batch_size: int) -> int:
        """Returns how many batches `test_batches` yields."""
        ...

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the held-out examples in order; nothing where there are none."""
        ...

    def sample(self, n: int, seed: Any = 0) -> Batch:
        """Returns n training examples chosen at random, or all if there are fewer."""
        ...

    def representative(self, n: int, seed: int = 0) -> Any:
        """Returns the inputs of n training examples to calibrate a quantizer with."""
        ...


class RandomAccess(Data, Protocol):
    """Data whose training examples can be taken in any order."""

    @property
    def examples(self) -> int:
        """The number of training examples."""
        ...

    def take(self, positions: np.ndarray, augmentation: str, rng: np.random.Generator) -> Batch:
        """Returns the training examples at these positions.

        Args:
            positions: int, (n,).
            augmentation: one of `config.AUGMENTATIONS`.
            rng: draws what the augmentation does to each.
        """
        ...
