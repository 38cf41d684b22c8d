"""Image files with labels as splits: in memory where they fit, else streamed from disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfcompress import images
from tfcompress.data.dataset import Split
from tfcompress.data.stores import ArrayImages, FileImages, Images
from tfcompress.images import Standard


@dataclasses.dataclass(frozen=True)
class LabelledFile:
    """An image file and its label, an index into the class names."""

    path: Path
    label: int


def splits_of(
    train: Sequence[LabelledFile],
    test: Sequence[LabelledFile],
    image_size: int | None,
    fallback_size: int,
) -> tuple[Split, Split]:
    """Reads labelled files, all of them once before it returns, so that bad ones are found now.

    Where the decoded images take more than `images.MEMORY_BUDGET_BYTES`, they are decoded again
    each time they are asked for, and no more than a batch of them is held.

    Args:
        train: the training images.
        test: the test images.
        image_size: the side that was asked for, in pixels; None for the rule of
            `images.standard_for`.
        fallback_size: the side where that rule needs one.

    Returns:
        The training and the test split, in the order given.

    Raises:
        InputError: names the first file that can't be decoded.
    """
    sizes = {images.read_size(file.path) for file in (*train, *test)}
    standard = images.standard_for(sizes, image_size, fallback_size)
    total = (len(train) + len(test)) * standard.size**2 * 3
    stream = total > images.MEMORY_BUDGET_BYTES
    return _split(train, standard, stream), _split(test, standard, stream)


def _split(files: Sequence[LabelledFile], standard: Standard, stream: bool) -> Split:
    """Decodes every file, and keeps the images unless they are to be streamed."""
    paths = [file.path for file in files]
    found: Images
    if stream:
        for _ in images.decode_all(paths, standard):
            pass
        found = FileImages(paths, standard)
    else:
        array = np.empty((len(paths), standard.size, standard.size, 3), np.uint8)
        for row, image in enumerate(images.decode_all(paths, standard)):
            array[row] = image
        found = ArrayImages(array)
    return Split(found, np.array([file.label for file in files], np.int32))
