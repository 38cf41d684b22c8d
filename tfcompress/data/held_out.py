"""Holds some training examples out, so that something can be chosen without the test examples."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfcompress.data.dataset import Dataset, Split
from tfcompress.data.examples import Examples
from tfcompress.data.random_split import split_groups
from tfcompress.data.stores import SelectedImages
from tfcompress.errors import InputError

# So many are held out to choose by, at most a fifth.
HELD_OUT = 1000
_SEED = 0


def without_test(data: Any, count: int = HELD_OUT) -> Dataset | Examples:
    """Returns the data with some of the training examples in the place of the test examples.

    They are drawn by a fixed seed, each class by itself where there are classes.

    Args:
        data: images with labels or arrays.
        count: of the examples that are held out, about; a fifth where that would be more.

    Raises:
        InputError: the data are a stream, of which no examples can be held out.
    """
    if not isinstance(data, Dataset | Examples):
        raise InputError(
            f"{data.name} is a stream, of which no examples can be held out to choose by: give "
            "arrays, or images in folders"
        )
    share = min(count / data.examples, 0.2)
    if isinstance(data, Examples):
        rest, chosen_by = data.parted(share)
        return dataclasses.replace(rest, test=chosen_by.train, split="")
    left, held_out = _parted(data, share)
    return dataclasses.replace(data, train=left, test=held_out, split="")


def with_fewer(data: Dataset | Examples, count: int) -> Dataset | Examples:
    """Returns the same data with fewer training examples, about so many; all where there are less.

    They are drawn as `without_test` draws them.

    Args:
        data: images with labels or arrays.
        count: of the training examples that stay.
    """
    share = count / data.examples
    if share >= 1:
        return data
    if isinstance(data, Examples):
        return dataclasses.replace(data.parted(share)[1], test=data.test)
    return dataclasses.replace(data, train=_parted(data, share)[1])


def _parted(data: Dataset, share: float) -> tuple[Split, Split]:
    """Returns the training images in two parts, the second one with this share of each class."""
    labels = data.train.labels
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    first, second = (
        Split(SelectedImages(data.train.images, places), labels[places])
        for places in split_groups([each for each in groups if len(each) > 1], share, _SEED)
    )
    return first, second
