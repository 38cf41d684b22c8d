"""Image files in folders, one folder a class."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tfcompress.data.random_split import check_split_options
from tfcompress.data.source import Request, Source, existing_folder

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset


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
    from tfcompress.data.class_folders import labelled_files
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.files import IMAGE_FILES, splits_of
    from tfcompress.data.normalization import Normalization

    root = existing_folder(request.path)
    options: FolderOptions = request.options
    labelled = labelled_files(root, IMAGE_FILES, options.test_fraction, options.split_seed)
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


SOURCE = Source(
    pattern="folder:PATH",
    summary="a folder a class, in train/ and test/ or right in PATH",
    example="folder:photos",
    local=True,
    check=check,
    load=load,
    options=FolderOptions,
)
