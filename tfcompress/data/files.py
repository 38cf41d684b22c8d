"""Image files: found in folders, and read as splits, in memory where they fit, else streamed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfcompress import images
from tfcompress.data.dataset import Split
from tfcompress.data.stores import ArrayImages, FileImages, Images
from tfcompress.errors import InputError, require
from tfcompress.images import IMAGE_EXTENSIONS, Standard


@dataclasses.dataclass(frozen=True)
class LabelledFile:
    """An image file and its label, an index into the class names."""

    path: Path
    label: int


def folders_in(folder: Path) -> list[Path]:
    """Returns the folders right in a folder that aren't hidden, by name.

    Raises:
        InputError: names a folder that can't be listed.
    """
    return [child for child in _children(folder) if child.is_dir()]


def images_in(folder: Path) -> list[Path]:
    """Returns the image files right in a folder that aren't hidden, by name.

    Raises:
        InputError: names a folder that can't be listed.
    """
    return [child for child in _children(folder) if _is_image(child)]


def image_files(folder: Path) -> list[Path]:
    """Returns the image files in a folder and below it, in the order of their relative names.

    Hidden files and folders, and files without an image's extension, are passed over.

    Raises:
        InputError: names a folder that can't be listed, or a link that leads back to a folder
            above it.
    """
    files: list[Path] = []
    # Folders yet to be listed, each with the real paths of itself and those above it.
    pending = [(folder, {os.path.realpath(folder)})]
    while pending:
        current, above = pending.pop()
        for child in _children(current):
            if child.is_dir():
                real = os.path.realpath(child)
                require(real not in above, f"{child} is a link to a folder above it: remove it")
                pending.append((child, above | {real}))
            elif _is_image(child):
                files.append(child)
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())


def _children(folder: Path) -> list[Path]:
    """Returns what a folder holds that isn't hidden, by name."""
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder {folder} can't be listed: {error.strerror}") from error


def _is_image(path: Path) -> bool:
    """Whether a path is a file with an image's extension."""
    return path.suffix.lower() in IMAGE_EXTENSIONS and not path.is_dir()


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
        fallback_size: the side in pixels where that rule needs one.

    Returns:
        The training and the test split, in the order given.

    Raises:
        InputError: names the first file that can't be decoded.
    """
    sizes = {images.read_size(file.path) for file in (*train, *test)}
    standard = images.standard_for(sizes, image_size, fallback_size)
    total_bytes = (len(train) + len(test)) * standard.size**2 * 3
    stream = total_bytes > images.MEMORY_BUDGET_BYTES
    return _read_split(train, standard, stream), _read_split(test, standard, stream)


def _read_split(files: Sequence[LabelledFile], standard: Standard, stream: bool) -> Split:
    """Decodes every file, and keeps the images unless they are to be streamed."""
    paths = [file.path for file in files]
    store: Images
    if stream:
        for _ in images.decode_all(paths, standard):
            pass
        store = FileImages(paths, standard)
    else:
        array = np.empty((len(paths), standard.size, standard.size, 3), np.uint8)
        for row, image in enumerate(images.decode_all(paths, standard)):
            array[row] = image
        store = ArrayImages(array)
    return Split(store, np.array([file.label for file in files], np.int32))
