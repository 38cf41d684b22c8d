"""Image files in folders, one folder a class."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tfcompress.data.random_split import check_split_options
from tfcompress.data.source import Request, Source, existing_folder
from tfcompress.errors import InputError, require

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.files import ImageFolders, LabelledFile

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
        check_split_options(self.test_fraction, self.split_seed)


@dataclasses.dataclass(frozen=True)
class _Labelled:
    """The labelled image files of a folder, and how they are split.

    Attributes:
        class_names: in the order of the labels.
        train: the training images.
        test: the test images.
        split: a sentence on how the two were told apart.
    """

    class_names: tuple[str, ...]
    train: list[LabelledFile]
    test: list[LabelledFile]
    split: str


def check(request: Request) -> None:
    """Refuses a request whose folder isn't there."""
    existing_folder(request.path)


def load(request: Request) -> Dataset:
    """Reads a folder of class folders, or of `train` and `test` with class folders each.

    `val`, `validation` or `valid` stands in for a missing `test`. Images are the files with an
    image's extension in a class folder or below it; hidden and other files are passed over.
    Classes and files are in the order of their names. Links are followed within the folder alone.

    Args:
        request: its path is the folder; its options, `FolderOptions`, are for a folder without
            `train`.

    Returns:
        The data set, in memory or streamed as `files.splits_of` decides.

    Raises:
        InputError: names a folder that is missing, empty or unreadable, a class that isn't in
            both `train` and `test`, a link out of the folder, a second name of a folder, or a file
            that can't be decoded.
    """
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.files import splits_of
    from tfcompress.data.normalization import Normalization

    root = existing_folder(request.path)
    labelled = _split_by_folder(root) or _split_at_random(root, request.options)
    train, test = splits_of(
        labelled.train, labelled.test, request.image_size, request.fallback_size
    )
    return Dataset(
        name=request.name,
        class_names=labelled.class_names,
        licence="not stated: files of the user's own",
        source=str(root),
        train=train,
        test=test,
        normalization=Normalization.of(train.images),
        augmentation="flip",
        split=labelled.split,
    )


def _split_by_folder(root: Path) -> _Labelled | None:
    """Reads `train` and `test` or a folder that stands in for it; None where there is no `train`.

    Raises:
        InputError: there is no test folder, or a class is in one of the two only.
    """
    from tfcompress.data.files import ImageFolders

    tree = ImageFolders(root)
    folders = {child.name.lower(): child for child in tree.folders_in(root)}
    held_out = [folders[name] for name in _TEST_FOLDERS if name in folders]
    # A class may well be called "train": then it holds images, and there is no test folder.
    if "train" not in folders or (tree.images_in(folders["train"]) and not held_out):
        return None
    train_folder = folders["train"]
    require(
        bool(held_out),
        f"{root} has a train but no test folder: add one (or val) with the same class folders, "
        "or put the class folders right into it",
    )
    test_folder, *unused = held_out
    class_names, train = _labelled_files(tree, train_folder)
    test_names, test = _labelled_files(tree, test_folder)
    for names, others, other in (
        (test_names, class_names, train_folder),
        (class_names, test_names, test_folder),
    ):
        for name in names:
            require(
                name in others,
                f"class '{name}' has no folder in {other}: training and test images must have "
                "the same classes",
            )
    split = f"By folder: {train_folder.name} and {test_folder.name}."
    if unused:
        split += f" Not used: {', '.join(folder.name for folder in unused)}."
    return _Labelled(class_names, train, test, split)


def _split_at_random(root: Path, options: FolderOptions) -> _Labelled:
    """Splits the images of each class folder at random."""
    from tfcompress.data.dataset import random_split_sentence, stratified_split
    from tfcompress.data.files import ImageFolders

    class_names, files = _labelled_files(ImageFolders(root), root)
    train, test = stratified_split(
        [file.label for file in files], options.test_fraction, options.split_seed, class_names
    )
    return _Labelled(
        class_names,
        [files[index] for index in train],
        [files[index] for index in test],
        random_split_sentence(options.test_fraction, options.split_seed),
    )


def _labelled_files(tree: ImageFolders, folder: Path) -> tuple[tuple[str, ...], list[LabelledFile]]:
    """Returns the class names and all images of a folder of class folders."""
    from tfcompress.data.files import LabelledFile
    from tfcompress.images import IMAGE_EXTENSIONS

    for image in tree.images_in(folder)[:1]:
        raise InputError(
            f"image {image} lies beside the class folders of {folder}: move it into one of them"
        )
    class_folders = tree.folders_in(folder)
    require(
        len(class_folders) >= 2,
        f"{folder} must hold a folder of images for each of 2 or more classes; it has "
        f"{len(class_folders)} folder{'s' * (len(class_folders) != 1)}",
    )
    labelled = []
    for label, class_folder in enumerate(class_folders):
        files = tree.image_files(class_folder)
        require(
            bool(files),
            f"class folder {class_folder} has no images ({' '.join(IMAGE_EXTENSIONS)}): add some "
            "or remove it",
        )
        labelled += [LabelledFile(file, label) for file in files]
    return tuple(class_folder.name for class_folder in class_folders), labelled


SOURCE = Source(
    pattern="folder:PATH",
    summary="a folder a class, in train/ and test/ or right in PATH",
    local=True,
    check=check,
    load=load,
    options=FolderOptions,
)
