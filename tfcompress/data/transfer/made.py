"""Transfer sets that are made of a run's own training examples, or of nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from keras import tree

from tfcompress.data.dataset import Dataset, Split
from tfcompress.data.examples import Examples
from tfcompress.data.pipelines import Stream
from tfcompress.data.protocol import Batch
from tfcompress.data.random_split import split_groups
from tfcompress.data.stores import SelectedImages
from tfcompress.data.transfer.mixtures import MixedImages, NoiseImages
from tfcompress.data.transfer.munge import munge
from tfcompress.data.transfer.unlabelled import (
    Unlabelled,
    UnlabelledImages,
    without_targets,
)
from tfcompress.errors import InputError, require

INVERTED = "inverted"
# Of `half`: which images are in which half doesn't hang on the seed of a training.
_SPLIT_SEED = 0
_HALF_SENTENCE = "The labels of one half of the training examples are used, at random."

Labelled = Dataset | Examples | Stream
# From the run's data, the count behind the colon and a seed to the labelled data that are left,
# and the unlabelled ones.
Make = Callable[[Labelled, int, int], tuple[Labelled, Unlabelled]]


@dataclasses.dataclass(frozen=True)
class Made:
    """A kind of transfer set that is made, not read.

    Attributes:
        pattern: how its name is written: `half`, `noise:N`, or `inverted[:N]` where the count may
            be left out.
        summary: one line for `--list`.
        make: makes it; None where a teacher is needed, whom this room doesn't know.
        count: what stands for a count that is left out.
    """

    pattern: str
    summary: str
    make: Make | None
    count: int = 0

    @property
    def word(self) -> str:
        """The name's first word."""
        return self.pattern.partition(":")[0].rstrip("[")

    def counted(self, name: str) -> int:
        """Returns the count in a name, 0 of a kind that takes none.

        Raises:
            InputError: it is missing, no positive number, or too much.
        """
        _, colon, text = name.partition(":")
        if not colon and (self.count or ":" not in self.pattern):
            return self.count
        takes = ":" in self.pattern
        right = takes and text.isascii() and text.isdigit() and 0 < int(text) <= 10_000_000
        require(right, f"transfer set '{name}' must be {self.pattern}" + ", N examples" * takes)
        return int(text)


def made(name: str) -> Made | None:
    """Returns the kind of a transfer set that is made; None of a data set's name."""
    word = name.partition(":")[0]
    return next((kind for kind in MADE if kind.word == word), None)


def _half(data: Labelled, count: int, seed: int) -> tuple[Labelled, Unlabelled]:
    """Parts the training examples: the labels of one half, the inputs of the other."""
    if isinstance(data, Dataset):
        labels = data.train.labels
        groups = [np.flatnonzero(labels == label) for label in range(data.num_classes)]
        _check_halves(data.name, min(map(len, groups)))
        rest, other = split_groups(groups, 0.5, _SPLIT_SEED)
        labelled = Split(SelectedImages(data.train.images, rest), labels[rest])
        unlabelled = dataclasses.replace(
            without_targets(data), name="half", images=SelectedImages(data.train.images, other)
        )
        split = f"{data.split} {_HALF_SENTENCE}"
        return dataclasses.replace(data, train=labelled, split=split), unlabelled
    if isinstance(data, Stream):
        raise InputError(f"half takes examples in any order; {data.name} is a stream")
    _check_halves(data.name, data.examples)
    left, second = data.parted(0.5)
    left = dataclasses.replace(left, split=f"{data.split} {_HALF_SENTENCE}".strip())
    return left, dataclasses.replace(without_targets(second), name="half")


def _check_halves(name: str, fewest: int) -> None:
    require(fewest >= 2, f"half needs 2 training examples of each class; {name} has {fewest}")


def _mixup(data: Labelled, count: int, seed: int) -> tuple[Labelled, Unlabelled]:
    """Mixes pairs of some training examples, as many mixtures as there are training examples."""
    name = f"mixup:{count}"
    total = _total(data, name)
    require(2 <= count <= total, f"{name}: {data.name} has {total:,} examples, take 2 to as many")
    chosen = np.random.default_rng(seed).permutation(total)[:count]
    if isinstance(data, Dataset):
        few = SelectedImages(data.train.images, chosen)
        mixed = MixedImages(few, total, seed)
        return data, dataclasses.replace(without_targets(data), name=name, images=mixed)
    rng = np.random.default_rng(seed)
    pairs, shares = rng.choice(chosen, (2, total)), rng.random(total)

    def mix(x: np.ndarray) -> np.ndarray:
        w = shares.reshape(-1, *[1] * (x.ndim - 1))
        return (w * x[pairs[0]] + (1 - w) * x[pairs[1]]).astype(x.dtype)

    return data, _of_numbers(data, name, mix)


def _noise(data: Labelled, count: int, seed: int) -> tuple[Labelled, Unlabelled]:
    """Draws values that have nothing to do with the data but their range."""
    name = f"noise:{count}"
    _total(data, name)
    if isinstance(data, Dataset):
        images = NoiseImages(data.image_shape, count, seed)
        return data, UnlabelledImages(name=name, images=images, normalization=data.normalization)
    rng = np.random.default_rng(seed)

    def draw(x: np.ndarray) -> np.ndarray:
        return rng.normal(x.mean(), x.std(), (count, *x.shape[1:])).astype(x.dtype)

    return data, _of_numbers(data, name, draw)


def _munge(data: Labelled, count: int, seed: int) -> tuple[Labelled, Unlabelled]:
    """Exchanges the attributes of a table's neighbouring rows."""
    name = f"munge:{count}"
    x = data.train.x if isinstance(data, Examples) else None
    table = isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype.kind == "f" and len(x) > 1
    require(
        table,
        f"{name} is for tables, such as csv:PATH, of 2 rows or more; {data.name} is none: take "
        "mixup:N",
    )
    choices, at = [], 0
    for column in data.preparation.get("columns", ()):
        width = len(column.get("one_hot", "1"))
        if "one_hot" in column or "codes" in column:
            choices.append(slice(at, at + width))
        at += width
    return data, _of_numbers(data, name, lambda x: munge(x, count, seed, choices=choices))


def _total(data: Labelled, name: str) -> int:
    """Returns the number of training examples.

    Raises:
        InputError: they come as a stream.
    """
    if isinstance(data, Stream):
        raise InputError(f"{name} is made of examples in memory or files; {data.name} is a stream")
    return data.examples


def _of_numbers(data: Labelled, name: str, make: Callable[[np.ndarray], np.ndarray]) -> Examples:
    """Returns examples each of whose inputs is made of all training examples' one.

    Raises:
        InputError: an input isn't of real numbers.
    """
    assert isinstance(data, Examples)
    arrays = tree.flatten(data.train.x)
    require(
        all(array.dtype.kind == "f" for array in arrays),
        f"{name} is made of real numbers; {data.name} has inputs of "
        f"{', '.join(sorted({str(array.dtype) for array in arrays}))}",
    )
    made_of_all = tree.map_structure(make, data.train.x)
    return dataclasses.replace(without_targets(data), name=name, train=Batch(made_of_all))


MADE = (
    Made("half", "the labels of one half of the training examples, the inputs of the other", _half),
    Made("mixup:N", "mixtures of pairs of N training examples", _mixup),
    Made("noise:N", "N examples of noise: the control, which must fail", _noise),
    Made("munge:N", "N rows made of a table's rows and their neighbours (Bucila 2006)", _munge),
    Made(f"{INVERTED}[:N]", "N images made from the teacher alone (DeepInversion)", None, 1024),
)
