"""Pictures with masks: a class for each pixel."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tfcompress.data.random_split import (
    check_split_options,
    random_split_sentence,
    split_groups,
)
from tfcompress.data.source import Request, Source, existing_folder
from tfcompress.errors import InputError, require

if TYPE_CHECKING:
    import numpy as np

    from tfcompress.data.examples import Examples

_Pairs = list[tuple[Path, Path]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationOptions:
    """What the values of masks mean, and how pictures are split.

    Attributes:
        class_names: of the values 0, 1, 2, ...; empty for these numbers.
        void: the value of pixels without a class, which are counted as class 0; none by default.
        renumber: whether the values are numbered in their order, as 0, 128, 255 become 0, 1, 2.
        mask_suffix: what the name of a mask has behind that of its picture, as `_mask`.
        test_fraction: the share of the pictures to judge by, where there is no `train` folder.
        split_seed: of the choice of these pictures.
    """

    class_names: tuple[str, ...] = ()
    void: int | None = None
    renumber: bool = False
    mask_suffix: str = ""
    test_fraction: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses splits that leave one side empty, and values that no pixel has."""
        check_split_options(self.test_fraction, self.split_seed)
        require(
            self.void is None or 0 < self.void <= 255, f"void must be in 1..255; got {self.void}"
        )


def check(request: Request) -> None:
    """Refuses a request whose folder isn't there."""
    existing_folder(request.path, "images/ and masks/")


def load(request: Request) -> Examples:
    """Reads a folder of `images` and `masks`, or of `train` and `test` with such folders.

    A picture and its mask have one name, but for the extension, and one size. The middle square of
    both is brought to one size, of masks by the nearest pixel. Masks are grey or palette images
    whose values are the numbers of classes; where all are 0 or 255, 255 is class 1.

    Args:
        request: its path is the folder; its options are `SegmentationOptions`; its `image_size`
            and `fallback_size` as `images.standard_for` has them.

    Returns:
        Inputs float32 (n, size, size, 3), each channel with mean 0 and deviation 1 on the training
        pictures; targets uint8 (n, size, size).

    Raises:
        InputError: names a file or folder that can't be used.
    """
    import numpy as np

    from tfcompress.data.examples import Examples
    from tfcompress.data.files import read_images
    from tfcompress.data.masks import NormalizedImages, read_masks
    from tfcompress.data.normalization import Normalization
    from tfcompress.data.protocol import Batch
    from tfcompress.images import standard_for

    root = existing_folder(request.path, "images/ and masks/")
    options: SegmentationOptions = request.options
    train, test, split = _split(root, options)
    sizes = {_size(*pair) for pair in (*train, *test)}
    standard = standard_for(sizes, request.image_size, request.fallback_size)
    pictures = [[picture for picture, _ in part] for part in (train, test)]
    stores = read_images(pictures[0], pictures[1], standard)
    masks = read_masks([mask for _, mask in (*train, *test)], standard)
    numbers, void = _class_numbers(root, masks, options)
    np.take(numbers, masks, out=masks)
    count = int(numbers.max()) + 1
    names = _names(root, count, options)
    normalization = Normalization.of(stores[0])
    x, held_out_x = (NormalizedImages(store, normalization) for store in stores)
    return Examples(
        train=Batch(x, masks[: len(train)]),
        test=Batch(held_out_x, masks[len(train) :]),
        name=request.name,
        source=str(root),
        split=split,
        class_names=names,
        metric="mean_iou",
        units="pictures",
        details=f"a class of {len(names)} for each pixel, {'x'.join(map(str, x.shape[1:]))}"
        + (f", {void:.1%} of the pixels void and so class 0" if void else ""),
        preparation={
            "size": standard.size,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
    )


def _split(root: Path, options: SegmentationOptions) -> tuple[_Pairs, _Pairs, str]:
    """Returns the training and test pictures with their masks, and how they were told apart."""
    import numpy as np

    from tfcompress.data.files import Folders
    from tfcompress.data.masks import pairs_in

    tree = Folders(root)
    train_folder, held_out = tree.splits_in(root)
    if train_folder is not None:
        require(bool(held_out), f"{root} has a train but no test folder: add one (or val)")
        folders = (train_folder, held_out[0])
        parts = [pairs_in(folder, tree, options.mask_suffix) for folder in folders]
        return parts[0], parts[1], f"By folder: {folders[0].name} and {folders[1].name}."
    pairs = pairs_in(root, tree, options.mask_suffix)
    require(len(pairs) >= 2, f"{root} has 1 image: to split off test images it needs 2 or more")
    rows = split_groups([np.arange(len(pairs))], options.test_fraction, options.split_seed)
    train, test = ([pairs[row] for row in part] for part in rows)
    sentence = random_split_sentence(options.test_fraction, options.split_seed, by_class=False)
    return train, test, sentence


def _names(root: Path, count: int, options: SegmentationOptions) -> tuple[str, ...]:
    """Returns the classes' names: those that are given, or else their numbers."""
    names = tuple(options.class_names or map(str, range(count)))
    require(
        len(names) >= count,
        f"{root}: the masks have the classes 0..{count - 1}, and class_names {len(names)} names",
    )
    return names


def _size(picture: Path, mask: Path) -> tuple[int, int]:
    """Returns the (height, width) of a picture, which its mask has too."""
    from tfcompress.images import read_size

    size, of_mask = read_size(picture), read_size(mask)
    require(
        size == of_mask,
        f"mask {mask} is {of_mask[1]}x{of_mask[0]}, and its image {picture.name} "
        f"{size[1]}x{size[0]}: they must be of one size",
    )
    return size


def _class_numbers(
    root: Path, masks: np.ndarray, options: SegmentationOptions
) -> tuple[np.ndarray, float]:
    """Returns the class of each value, uint8 (256,), and the share of pixels without one.

    Raises:
        InputError: the values are no numbers of classes, or there is one class only.
    """
    import numpy as np

    counts = np.zeros(256, np.int64)
    for mask in masks:
        counts += np.bincount(mask.reshape(-1), minlength=256)
    without = 0.0 if options.void is None else counts[options.void] / counts.sum()
    if options.void is not None:
        counts[options.void] = 0
    values = np.flatnonzero(counts)
    numbers = np.zeros(256, np.uint8)
    if options.renumber or values.tolist() == [0, 255]:
        numbers[values] = np.arange(len(values))
    else:
        numbers[values] = values
        listed = ", ".join(map(str, values[:8])) + ", ..." * (len(values) > 8)
        # Pictures of grey levels, not of numbers: most of the classes would have no pixel.
        if len(values) and values[-1] > 2 * len(values):
            raise InputError(
                f"{root}: the masks have the values {listed} up to {values[-1]}, and numbers of "
                "classes are 0, 1, 2, ...: number them in their order, --set renumber=true"
                + (
                    ", or leave pixels without a class to 0, --set void=255"
                    * bool(values[-1] == 255)
                )
            )
    require(
        int(numbers.max()) >= 1,
        f"{root}: all pixels of all masks are of one class: there is nothing to learn",
    )
    return numbers, float(without)


SOURCE = Source(
    pattern="segmentation:PATH",
    summary="images/ with masks/ of the numbers of classes",
    example="segmentation:streets",
    local=True,
    check=check,
    load=load,
    options=SegmentationOptions,
    model="unet_small",
)
