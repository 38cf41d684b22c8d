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
from tfcompress.data.transfer.kinds import Kind
from tfcompress.data.transfer.mixtures import MixedImages, NoiseImages
from tfcompress.data.transfer.munge import munge
from tfcompress.data.transfer.unlabelled import (
    Unlabelled,
    UnlabelledImages,
    without_targets,
)
from tfcompress.errors import InputError, require

# Of `half`: which images are in which half doesn't hang on the seed of a training.
_SPLIT_SEED = 0
_HALF_SENTENCE = "The labels of one half of the training examples are used, at random."

Labelled = Dataset | Examples | Stream


def make(kind: Kind, name: str, data: Labelled, seed: int) -> tuple[Labelled, Unlabelled]:
    """Makes a transfer set.

    Args:
        kind: of `kinds.KINDS`.
        name: as the user gave it.
        data: what a run trains on.
        seed: of what is drawn.

    Returns:
        The labelled data that are left, and the unlabelled examples.

    Raises:
        InputError: it can't be made of these data.
    """
    require(
        kind.word in _MAKERS,
        f"transfer set '{name}' is made from a teacher: write its images by tfcompress.training."
        "inverted_folder.invert_into, and give folder:PATH",
    )
    return _MAKERS[kind.word](data, kind.count(name), seed)


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


_MAKERS: dict[str, Callable[[Labelled, int, int], tuple[Labelled, Unlabelled]]] = {
    "half": _half,
    "mixup": _mixup,
    "noise": _noise,
    "munge": _munge,
}
