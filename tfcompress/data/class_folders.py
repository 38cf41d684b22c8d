"""Files in folders, one folder a class: listed, labelled and split, whatever they hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfcompress.data.dataset import stratified_split
from tfcompress.data.files import FileKind, Folders, LabelledFile
from tfcompress.data.random_split import random_split_sentence
from tfcompress.errors import InputError, require


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The labelled files of a folder, and how they are split.

    Attributes:
        class_names: in the order of the labels.
        train: the training files.
        test: the test files.
        split: a sentence on how the two were told apart.
    """

    class_names: tuple[str, ...]
    train: list[LabelledFile]
    test: list[LabelledFile]
    split: str


def labelled_files(root: Path, kind: FileKind, test_fraction: float, split_seed: int) -> Labelled:
    """Lists a folder of class folders, or of `train` and `test` with class folders each.

    `val`, `validation` or `valid` stands in for a missing `test`. Classes and files are in the
    order of their names.

    Args:
        root: the folder.
        kind: which files.
        test_fraction: the share of each class that is for testing where there is no `train`.
        split_seed: of the choice of these.

    Raises:
        InputError: names a folder that is empty or unreadable, a class that isn't in both `train`
            and `test`, a link out of the folder, or a second name of a folder.
    """
    tree = Folders(root, kind)
    by_folder = _split_by_folder(tree, root)
    return by_folder or _split_at_random(Folders(root, kind), root, test_fraction, split_seed)


def _split_by_folder(tree: Folders, root: Path) -> Labelled | None:
    """Reads `train` and `test` or a folder that stands in for it; None where there is no `train`.

    Raises:
        InputError: there is no test folder, or a class is in one of the two only.
    """
    train_folder, held_out = tree.splits_in(root)
    # A class may well be called "train": then it holds files, and there is no test folder.
    if train_folder is None or (tree.files_in(train_folder) and not held_out):
        return None
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
                f"class '{name}' has no folder in {other}: training and test "
                f"{tree.kind.noun}s must have the same classes",
            )
    split = f"By folder: {train_folder.name} and {test_folder.name}."
    if unused:
        split += f" Not used: {', '.join(folder.name for folder in unused)}."
    return Labelled(class_names, train, test, split)


def _split_at_random(tree: Folders, root: Path, test_fraction: float, split_seed: int) -> Labelled:
    """Splits the files of each class folder at random."""
    class_names, files = _labelled_files(tree, root)
    train, test = stratified_split(
        [file.label for file in files], test_fraction, split_seed, class_names, tree.kind.noun
    )
    return Labelled(
        class_names,
        [files[index] for index in train],
        [files[index] for index in test],
        random_split_sentence(test_fraction, split_seed),
    )


def _labelled_files(tree: Folders, folder: Path) -> tuple[tuple[str, ...], list[LabelledFile]]:
    """Returns the class names and all files of a folder of class folders."""
    noun = tree.kind.noun
    for file in tree.files_in(folder)[:1]:
        raise InputError(
            f"{noun} {file} lies beside the class folders of {folder}: move it into one of them"
        )
    class_folders = tree.folders_in(folder)
    require(
        len(class_folders) >= 2,
        f"{folder} must hold a folder of {noun}s for each of 2 or more classes; it has "
        f"{len(class_folders)} folder{'s' * (len(class_folders) != 1)}",
    )
    labelled = []
    for label, class_folder in enumerate(class_folders):
        files = tree.files_below(class_folder)
        require(
            bool(files),
            f"class folder {class_folder} has no {noun}s ({' '.join(tree.kind.extensions)}): "
            "add some or remove it",
        )
        labelled += [LabelledFile(file, label) for file in files]
    return tuple(class_folder.name for class_folder in class_folders), labelled
