"""Image files in folders, one folder a class."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tfcompress.data.random_split import check_split_options
from tfcompress.data.source import Request, Source, existing_folder
from tfcompress.errors import require

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.transfer.unlabelled import UnlabelledImages


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


def unlabelled(request: Request, data: Any) -> UnlabelledImages:
    """Reads all images in a folder and below it, or in its `train` where there is one.

    Args:
        request: its path is the folder; its `image_size` the side of the images.
        data: images, whose normalisation is taken.

    Raises:
        InputError: names a folder without images, or a file that can't be decoded.
    """
    from tfcompress import images
    from tfcompress.data.files import Folders, read_images
    from tfcompress.data.normalization import Normalization
    from tfcompress.data.transfer.unlabelled import UnlabelledImages

    root = existing_folder(request.path)
    tree = Folders(root)
    train, _ = tree.splits_in(root)
    files = tree.files_below(train or root)
    require(bool(files), f"{train or root} has no images ({' '.join(images.IMAGE_EXTENSIONS)})")
    sizes = {images.read_size(file) for file in files}
    standard = images.standard_for(sizes, request.image_size, request.fallback_size)
    store, _ = read_images(files, [], standard)
    return UnlabelledImages(
        name=request.name,
        images=store,
        normalization=getattr(data, "normalization", Normalization.identity()),
        augmentation="flip",
        titles=tuple(map(str, files)),
    )


SOURCE = Source(
    pattern="folder:PATH",
    summary="a folder a class, in train/ and test/ or right in PATH",
    example="folder:photos",
    local=True,
    check=check,
    load=load,
    options=FolderOptions,
    unlabelled=unlabelled,
)
