"""Image files in folders, one folder a class."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from tfcompress.data.dataset import Dataset, stratified_split
from tfcompress.data.files import LabelledFile, splits_of
from tfcompress.data.normalization import Normalization
from tfcompress.errors import InputError, require
from tfcompress.images import IMAGE_EXTENSIONS

_TEST_FOLDERS = ("test", "val", "validation", "valid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How images are split where there is no `train` folder; else both are unused.

    Attributes:
        test_fraction: the share of each class that becomes test images.
        split_seed: of the choice of these images.
    """

    test_fraction: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses splits that leave one side empty."""
        require(
            0 < self.test_fraction < 1, f"test_fraction must be in (0, 1); got {self.test_fraction}"
        )
        require(self.split_seed >= 0, f"split_seed must be 0 or more; got {self.split_seed}")


def load(
    path: str | os.PathLike[str],
    image_size: int | None = None,
    fallback_size: int = 32,
    options: FolderOptions | None = None,
) -> Dataset:
    """Reads a folder of class folders, or of `train` and `test` with class folders each.

    `val`, `validation` or `valid` stands in for a missing `test`. Images are the files with an
    image's extension in a class folder or below it; hidden and other files are passed over.
    Classes and files are in the order of their names.

    Args:
        path: the folder.
        image_size: the side that was asked for, in pixels; None for the rule of
            `images.standard_for`.
        fallback_size: the side where that rule needs one.
        options: how to split where there is no `train`.

    Returns:
        The data set, in memory or streamed as `files.splits_of` decides.

    Raises:
        InputError: names a folder that is missing, empty or unreadable, a class that isn't in
            both `train` and `test`, or a file that can't be decoded.
    """
    options = options or FolderOptions()
    root = existing_folder(path)
    folders = {child.name.lower(): child for child in _folders(root)}
    # A class may well be called "train": then it holds images, and there is no test folder.
    if "train" in folders and (
        any(name in folders for name in _TEST_FOLDERS) or not _images_in(folders["train"])
    ):
        held_out = [name for name in _TEST_FOLDERS if name in folders]
        require(
            bool(held_out),
            f"{root} has a train but no test folder: add one (or val) with the same class folders, "
            "or put the class folders right into it",
        )
        class_names, train = _labelled(folders["train"])
        test_names, test = _labelled(folders[held_out[0]])
        for names, others, other in (
            (test_names, class_names, folders["train"]),
            (class_names, test_names, folders[held_out[0]]),
        ):
            for name in names:
                require(
                    name in others,
                    f"class '{name}' has no folder in {other}: training and test images must have "
                    "the same classes",
                )
        split = f"By folder: {folders['train'].name} and {folders[held_out[0]].name}."
        if len(held_out) > 1:
            split += f" Not used: {', '.join(folders[name].name for name in held_out[1:])}."
    else:
        class_names, files = _labelled(root)
        labels = np.array([file.label for file in files])
        train_at, test_at = stratified_split(
            labels, options.test_fraction, options.split_seed, class_names
        )
        train, test = [files[at] for at in train_at], [files[at] for at in test_at]
        split = (
            f"At random within each class, {options.test_fraction:.0%} for testing, seed "
            f"{options.split_seed}."
        )
    train_split, test_split = splits_of(train, test, image_size, fallback_size)
    return Dataset(
        name=f"folder:{path}",
        class_names=class_names,
        licence="not stated: files of the user's own",
        source=str(root),
        train=train_split,
        test=test_split,
        normalization=Normalization.of(train_split.images),
        augmentation="flip",
        split=split,
    )


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """The path of a folder, `~` expanded.

    Raises:
        InputError: there is none, or it is a file.
    """
    folder = Path(path).expanduser()
    require(bool(str(path)) and folder.exists(), f"there is no folder '{path}'")
    require(folder.is_dir(), f"'{path}' is a file: a folder of images is needed")
    return folder


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and below it, in the order of their relative names.

    Hidden files and folders, and files without an image's extension, are passed over.

    Raises:
        InputError: names a folder that can't be listed, or a link that leads back to a folder
            above it.
    """
    found: list[Path] = []
    # Folders yet to be listed, each with the real paths of itself and those above it.
    pending = [(folder, {os.path.realpath(folder)})]
    while pending:
        current, above = pending.pop()
        for child in _children(current):
            if child.is_dir():
                real = os.path.realpath(child)
                require(real not in above, f"{child} is a link to a folder above it: remove it")
                pending.append((child, above | {real}))
            elif child.suffix.lower() in IMAGE_EXTENSIONS:
                found.append(child)
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def _children(folder: Path) -> list[Path]:
    """What a folder holds that isn't hidden, by name."""
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder {folder} can't be listed: {error.strerror}") from error


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return [child for child in _children(folder) if child.is_dir()]


def _images_in(folder: Path) -> list[Path]:
    """The images that lie right in a folder, by name."""
    children = _children(folder)
    return [
        child
        for child in children
        if child.suffix.lower() in IMAGE_EXTENSIONS and not child.is_dir()
    ]


def _labelled(folder: Path) -> tuple[tuple[str, ...], list[LabelledFile]]:
    """The class names and all images of a folder of class folders."""
    for image in _images_in(folder)[:1]:
        raise InputError(
            f"image {image} lies beside the class folders of {folder}: move it into one of them"
        )
    class_folders = _folders(folder)
    require(
        len(class_folders) >= 2,
        f"{folder} must hold a folder of images for each of 2 or more classes; it has "
        f"{len(class_folders)} folder{'s' * (len(class_folders) != 1)}",
    )
    labelled = []
    for label, class_folder in enumerate(class_folders):
        files = image_files(class_folder)
        require(
            bool(files),
            f"class folder {class_folder} has no images ({' '.join(IMAGE_EXTENSIONS)}): add some "
            "or remove it",
        )
        labelled += [LabelledFile(file, label) for file in files]
    return tuple(class_folder.name for class_folder in class_folders), labelled
