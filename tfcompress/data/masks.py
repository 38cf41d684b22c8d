"""Masks: images whose pixels are numbers of classes, and the pictures that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tfcompress import images
from tfcompress.data.files import IMAGE_FILES, FileKind, Folders
from tfcompress.data.normalization import Normalization
from tfcompress.data.stores import Images
from tfcompress.errors import InputError, require
from tfcompress.images import Standard

# Not .jpg, which changes values, and not .webp, which mostly does.
MASK_FILES = FileKind(noun="mask", extensions=(".png", ".bmp", ".gif", ".tif", ".tiff"))


class NormalizedImages:
    """Images as a model takes them, made of 8-bit ones as they are asked for.

    Args:
        images: in memory or streamed.
        normalization: what a model sees of them.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, images: Images, normalization: Normalization) -> None:
        self.images = images
        self.normalization = normalization
        self.shape = (len(images), *images.shape)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: np.ndarray | slice) -> np.ndarray:
        """Returns the images at these places: float32 (n, height, width, 3)."""
        return self.normalization(self.images.batch(np.arange(len(self))[places]))


def pairs_in(folder: Path, tree: Folders, suffix: str) -> list[tuple[Path, Path]]:
    """Returns the pictures of `images/` in a folder, each with its mask of `masks/`.

    Args:
        folder: which has both.
        tree: of the pictures' files.
        suffix: what the name of a mask has behind that of its picture, before the extension.

    Raises:
        InputError: names what has no counterpart, or has two.
    """
    pictures, masks = folder / "images", folder / "masks"
    tree.folders_in(folder)  # Refuses links out of it.
    for part in (pictures, masks):
        require(part.is_dir(), f"there is no folder '{part}': images/ and masks/ are needed")
    by_picture = _by_stem(pictures, tree.files_below(pictures), "")
    by_mask = _by_stem(masks, Folders(folder, MASK_FILES).files_below(masks), suffix)
    require(
        bool(by_picture), f"{pictures} has no images ({' '.join(IMAGE_FILES.extensions)}): add some"
    )
    for stem, file in by_picture.items():
        require(
            stem in by_mask,
            f"image {file} has no mask: {masks / (stem + suffix)}.png is looked for "
            f"({' '.join(MASK_FILES.extensions)})",
        )
    for stem, file in by_mask.items():
        require(stem in by_picture, f"mask {file} belongs to no image of {pictures}")
    return [(file, by_mask[stem]) for stem, file in by_picture.items()]


def _by_stem(folder: Path, files: Sequence[Path], suffix: str) -> dict[str, Path]:
    """Returns files by their names in a folder, without extension and suffix."""
    found: dict[str, Path] = {}
    for file in files:
        stem = file.relative_to(folder).with_suffix("").as_posix()
        require(
            stem.endswith(suffix), f"the name of mask {file} doesn't end in '{suffix}', mask_suffix"
        )
        stem = stem.removesuffix(suffix)
        require(stem not in found, f"{found.get(stem)} and {file} have one name: remove one")
        found[stem] = file
    return found


def read_masks(files: Sequence[Path], standard: Standard) -> np.ndarray:
    """Decodes masks, and brings them to the form of their pictures without mixing values.

    Returns:
        uint8, (n, size, size): the values of the files.

    Raises:
        InputError: names a file that can't be read or has colours, or masks that take too much
            memory.
    """
    total = len(files) * standard.size**2
    require(
        total <= images.MEMORY_BUDGET_BYTES,
        f"{len(files):,} masks of {standard.size}x{standard.size} take more than "
        f"{images.MEMORY_BUDGET_BYTES >> 20:,} MiB: take a smaller --image_size",
    )
    out = np.empty((len(files), standard.size, standard.size), np.uint8)
    for row, file in enumerate(files):
        with images.decoded(file, standard.size, _to_numbers) as mask:
            out[row] = _fitted(mask, standard)
    return out


def _to_numbers(mask: Image.Image) -> Image.Image:
    """Returns a mask with one byte a pixel; of a palette the number of the colour.

    Raises:
        InputError: it has colours without numbers, or numbers above 255.
    """
    if mask.mode in ("L", "P"):
        values = np.asarray(mask)
    elif mask.mode == "1":
        values = np.asarray(mask).astype(np.uint8)
    elif mask.mode.startswith("I"):
        wide = np.asarray(mask)
        require(
            wide.min() >= 0 and wide.max() <= 255,
            f"has values of {wide.min()}..{wide.max()}: numbers of classes are 0..255",
        )
        values = wide.astype(np.uint8)
    elif mask.mode in ("RGB", "RGBA", "LA"):
        bands = [np.asarray(mask.getchannel(band)) for band in mask.getbands() if band != "A"]
        require(
            all(np.array_equal(bands[0], band) for band in bands),
            "has colours: a mask is a grey or palette image of the numbers of classes",
        )
        values = bands[0]
    else:
        raise InputError(f"has pixels of mode {mask.mode}: a grey or palette image is needed")
    return Image.fromarray(values)


def _fitted(mask: Image.Image, standard: Standard) -> np.ndarray:
    """Pads, or crops and resizes, a mask as `images.standardize_rgb` does its picture."""
    size = standard.size
    if not standard.pad:
        return np.asarray(ImageOps.fit(mask, (size, size), Image.Resampling.NEAREST))
    padded = Image.new("L", (size, size))
    padded.paste(mask, ((size - mask.width) // 2, (size - mask.height) // 2))
    return np.asarray(padded)
