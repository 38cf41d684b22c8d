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
    """A file and its label, an index into the class names."""

    path: Path
    label: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileKind:
    """What files a data set is made of.

    Attributes:
        noun: what one is called.
        extensions: what their names end in, in lower case.
        passed_over: what the names of files and folders begin with that are passed over.
    """

    noun: str
    extensions: tuple[str, ...]
    passed_over: tuple[str, ...] = (".",)


IMAGE_FILES = FileKind(noun="image", extensions=IMAGE_EXTENSIONS)
# What may hold the test files, the best first.
_TEST_FOLDERS = ("test", "val", "validation", "valid")


class Folders:
    """Lists files of one kind below one folder: each folder once, and nothing outside.

    Hidden files and folders are passed over, and so are files without such an extension. A
    link is followed where it leads to something below the folder.

    Args:
        root: the folder.
        kind: which files.
    """

    def __init__(self, root: Path, kind: FileKind = IMAGE_FILES) -> None:
        self.kind = kind
        self._root = root
        self._real_root = os.path.realpath(root)
        # The folders whose files were listed, by their real paths.
        self._listed: dict[str, Path] = {}

    def folders_in(self, folder: Path) -> list[Path]:
        """Returns the folders right in a folder, by name.

        Raises:
            InputError: names a folder that can't be listed, or what can't be used in it.
        """
        return self._children(folder)[0]

    def splits_in(self, folder: Path) -> tuple[Path | None, list[Path]]:
        """Returns a folder's `train`, or None, and those that hold test files, the best first.

        Raises:
            InputError: as `folders_in`.
        """
        folders = {child.name.lower(): child for child in self.folders_in(folder)}
        held_out = [folders[name] for name in _TEST_FOLDERS if name in folders]
        return folders.get("train"), held_out

    def files_in(self, folder: Path) -> list[Path]:
        """Returns the files right in a folder, by name.

        Raises:
            InputError: as `folders_in`.
        """
        return self._children(folder)[1]

    def files_below(self, folder: Path) -> list[Path]:
        """Returns the files in a folder and below it, in the order of their relative names.

        Raises:
            InputError: as `folders_in`; or names a folder whose files were listed before, under
                this name or another.
        """
        files: list[Path] = []
        # Folders yet to be listed, each with the real paths of those above it.
        pending: list[tuple[Path, frozenset[str]]] = [(folder, frozenset())]
        while pending:
            current, above = pending.pop()
            real = os.path.realpath(current)
            require(real not in above, f"{current} is a link to a folder above it: remove it")
            first = self._listed.setdefault(real, current)
            require(first is current, f"{current} and {first} are the same folder: remove one")
            folders, files_here = self._children(current)
            pending += [(child, above | {real}) for child in folders]
            files += files_here
        return sorted(files, key=lambda file: file.relative_to(folder).as_posix())

    def _children(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Returns the folders and the files right in a folder, each by name."""
        folders, files = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    child = folder / entry.name
                    is_wanted = child.suffix.lower() in self.kind.extensions
                    if entry.name.startswith(self.kind.passed_over):
                        continue
                    if entry.is_dir():
                        folders.append(child)
                    elif is_wanted:
                        files.append(child)
                    if entry.is_symlink() and (is_wanted or entry.is_dir()):
                        self._check_link(child)
                    # A pipe would never come to an end. A link to nothing is named by its reader.
                    odd = is_wanted and not (entry.is_dir() or entry.is_file()) and child.exists()
                    require(
                        not odd,
                        f"{child} is a pipe, socket or device, no {self.kind.noun}: remove it",
                    )
        except OSError as error:
            raise InputError(f"folder {folder} can't be listed: {error.strerror}") from error
        return sorted(folders), sorted(files)

    def _check_link(self, link: Path) -> None:
        """Refuses a link that leads out of the root."""
        real = os.path.realpath(link)
        require(
            Path(real).is_relative_to(self._real_root),
            f"{link} is a link out of {self._root}, which isn't followed: put a copy in its "
            "place, as cp -rL makes",
        )


def image_files(folder: Path) -> list[Path]:
    """Returns the image files in a folder and below it, in the order of their relative names.

    Raises:
        InputError: as `Folders.files_below`.
    """
    return Folders(folder).files_below(folder)


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
    stores = read_images([file.path for file in train], [file.path for file in test], standard)
    first, second = (
        Split(store, np.array([file.label for file in files], np.int32))
        for store, files in zip(stores, (train, test), strict=True)
    )
    return first, second


def read_images(
    train: Sequence[Path], test: Sequence[Path], standard: Standard
) -> tuple[Images, Images]:
    """Decodes every file once, and keeps the images if all of them fit, as `splits_of` says.

    Raises:
        InputError: names the first file that can't be decoded.
    """
    total_bytes = (len(train) + len(test)) * standard.size**2 * 3
    stream = total_bytes > images.MEMORY_BUDGET_BYTES
    return _read(train, standard, stream), _read(test, standard, stream)


def _read(paths: Sequence[Path], standard: Standard, stream: bool) -> Images:
    """Decodes every file, and keeps the images unless they are to be streamed."""
    if stream:
        for _ in images.decode_all(paths, standard):
            pass
        return FileImages(paths, standard)
    array = np.empty((len(paths), standard.size, standard.size, 3), np.uint8)
    for row, image in enumerate(images.decode_all(paths, standard)):
        array[row] = image
    return ArrayImages(array)
