"""Brings images of any size and mode to one size and RGB, and decodes image files.

Nothing here keeps more than a few images at a time; callers that need them all collect them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

# Pillow has decoders for many more, some of which start other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")

# What the decoded images of one data set may take in memory; larger ones are streamed from their
# files or kept in a temporary file.
MEMORY_BUDGET_BYTES = 1 << 30

# Square images of 28 to 31 px a side (MNIST and its kin) are padded, not resized: their pixels
# stay as they are and halve cleanly four times.
_SMALL_SIDE = 32
_SMALLEST_PADDED_SIDE = 28
_LARGEST_KEPT_SIDE = 64

# Images decoded at once, and those decoded ahead of the one that is asked for.
_DECODERS = min(4, os.cpu_count() or 1)
_DECODED_AHEAD = 64
# What all images under decoding may take together, and what one takes at most for each pixel. An
# image that takes more is decoded while no other is.
_DECODING_BYTES = 1 << 30
_PIXEL_BYTES = {"JPEG": 13, "MPO": 13, "TIFF": 14, "WEBP": 17}
_OTHER_PIXEL_BYTES = 9
# Pillow takes an image's memory in blocks of 16 MB. Freed ones stay with the thread that took them:
# glibc gives back only what is larger than 32 MB.
_BLOCK_BYTES = 64 << 20
if "PILLOW_BLOCK_SIZE" not in os.environ:
    Image.core.set_block_size(_BLOCK_BYTES)
# Rows of an image with transparency that are laid over black at once.
_BAND_ROWS = 64

# TIFF's tags of the sides of the tiles that an image is stored in.
_TIFF_TILE = (322, 323)
# EXIF's tag of how the camera was held; from 5 on, width and height are swapped.
_EXIF_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class Standard:
    """The one form that all images of a data set are brought to: RGB of size x size.

    Attributes:
        size: the side in pixels.
        pad: whether images are padded with zeros on all sides (by `size` minus their side, the
            smaller half at the top and left), instead of cropped to a square and resized.
    """

    size: int
    pad: bool = False


def standard_for(
    sizes: Iterable[tuple[int, int]], image_size: int | None, fallback_size: int
) -> Standard:
    """Decides what a source's images are brought to.

    Args:
        sizes: (height, width) of the images in pixels; none when they aren't known.
        image_size: the side that was asked for, or None: images of one size of at most 64 px a
            side keep it, except that square ones of 28 to 31 px are padded to 32, and smaller or
            non-square ones are resized to 32; all others are resized to `fallback_size`.
        fallback_size: the side of images that are larger or of several sizes.

    Returns:
        The form; it pads where all images are square of 28 to 31 px and the side is to be 32.

    Raises:
        InputError: a side that isn't positive.

    >>> standard_for([(28, 28)], None, 96)
    Standard(size=32, pad=True)
    >>> standard_for([(48, 48)], None, 96)
    Standard(size=48, pad=False)
    >>> standard_for([(480, 640), (48, 48)], None, 96)
    Standard(size=96, pad=False)
    """
    for side in (image_size, fallback_size):
        if side is not None and side < 1:
            raise InputError(f"the image size must be 1 pixel or more; got {side}")
    distinct = set(sizes)
    height, width = distinct.pop() if len(distinct) == 1 else (0, 0)
    square = height == width
    padded = square and _SMALLEST_PADDED_SIDE <= height < _SMALL_SIDE
    if image_size is not None:
        return Standard(image_size, pad=padded and image_size == _SMALL_SIDE)
    if not 0 < max(height, width) <= _LARGEST_KEPT_SIDE:
        return Standard(fallback_size)
    if square and height >= _SMALL_SIDE:
        return Standard(height)
    return Standard(_SMALL_SIDE, pad=padded)


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts any Pillow image to 8-bit RGB.

    Grey is repeated; palettes are resolved; transparent pixels are laid over black; CMYK, YCbCr
    and others are converted as Pillow does. Grey of 16 or 32 bits is brought to 8 by `_byte_grey`.

    Raises:
        InputError: a floating-point image, or one of 32-bit integers with values below 0 or above
            65,535: no range can be assumed for it.
    """
    if image.mode == "F":
        raise InputError("holds floating-point pixels: convert it to 8 bits a channel")
    if image.mode.startswith("I"):
        return Image.fromarray(_byte_grey(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_black(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_black(image: Image.Image) -> Image.Image:
    """Lays an image with transparency over black, a few rows at a time, for they are copied."""
    rgb = Image.new("RGB", image.size)
    for top in range(0, image.height, _BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        over = band.convert("RGBA")
        black = Image.new("RGBA", over.size, (0, 0, 0, 255))
        rgb.paste(Image.alpha_composite(black, over).convert("RGB"), (0, top))
    return rgb


def _byte_grey(values: np.ndarray) -> np.ndarray:
    """Converts the pixels of a grey image of 16 or 32 bits to uint8.

    Values that are all at most 255 are taken as they are: programs write 8-bit images in wider
    types. Of others, up to 65,535, the high byte of 16 bits is kept.

    Raises:
        InputError: values outside 0..65,535.
    """
    low, high = int(values.min()), int(values.max())
    require(
        low >= 0 and high <= 0xFFFF,
        f"holds integers from {low} to {high}, more than 16 bits: convert it to 8 bits a channel",
    )
    return (values >> 8 if high > 0xFF else values).astype(np.uint8)


def standardize(image: Image.Image, standard: Standard) -> np.ndarray:
    """Brings one image to the standard form.

    Returns:
        uint8, (size, size, 3): padded, or cropped and resized as `fit` does.
    """
    return standardize_rgb(to_rgb(image), standard)


def standardize_rgb(rgb: Image.Image, standard: Standard) -> np.ndarray:
    """Brings one RGB image to the standard form, as `standardize` does."""
    if standard.pad:
        return _padded(np.asarray(rgb)[None], standard.size)[0]
    return fit(rgb, standard.size, standard.size)


def fit(rgb: Image.Image, height: int, width: int) -> np.ndarray:
    """Crops an RGB image around its centre to a shape's proportions, and resizes it.

    Returns:
        uint8, (height, width, 3): bilinear, and antialiased where the image becomes smaller.
    """
    return np.asarray(ImageOps.fit(rgb, (width, height), Image.Resampling.BILINEAR))


def standardize_arrays(images: np.ndarray, standard: Standard) -> np.ndarray:
    """Brings images of one size to the standard form.

    Args:
        images: uint8, (N, H, W) or (N, H, W, C) with 1 channel (grey), 3 (RGB) or 4 (RGB and
            alpha, laid over black).
        standard: the form.

    Returns:
        uint8, (N, size, size, 3); the input itself where it has this form.
    """
    if images.ndim == 3:
        images = images[..., None]
    if standard.pad:
        images = _padded(images, standard.size)
    channels = images.shape[3]
    if images.shape[1:3] == (standard.size, standard.size) and channels in (1, 3):
        return images if channels == 3 else np.repeat(images, 3, axis=3)
    out = np.empty((len(images), standard.size, standard.size, 3), np.uint8)
    for index, image in enumerate(images):
        out[index] = standardize(from_array(image), Standard(standard.size))
    return out


def from_array(image: np.ndarray) -> Image.Image:
    """Wraps an array as a Pillow image.

    Args:
        image: uint8, (H, W) or (H, W, 1) for grey, (H, W, 3) for RGB, or (H, W, 4) for RGB and
            alpha; no axis of length 0.

    Raises:
        InputError: another type or shape.
    """
    fits = image.dtype == np.uint8 and (
        image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    )
    require(
        fits,
        "an image is a file, a Pillow image, or uint8 of shape (h, w), (h, w, 1), (h, w, 3) or "
        f"(h, w, 4); got {image.dtype} of shape {image.shape}",
    )
    require(image.size > 0, f"the image has the shape {image.shape}: there are no pixels")
    return Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)


def _padded(images: np.ndarray, size: int) -> np.ndarray:
    """Pads (N, H, W, C), H and W at most `size`, with zeros on all sides: (N, size, size, C)."""
    edges = [(0, 0)]
    for side in images.shape[1:3]:
        missing = size - side
        edges.append((missing // 2, missing - missing // 2))
    return np.pad(images, [*edges, (0, 0)])


def read_size(path: Path) -> tuple[int, int]:
    """Reads (height, width) in pixels of an image file, upright, from its header alone.

    Raises:
        InputError: names a file that is no image, can't be read, or holds more pixels than
            Pillow deems safe to decode.
    """
    try:
        with warnings.catch_warnings():
            # The size is judged by us, with an error instead of Pillow's warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with _opened(path) as image:
                width, height = image.size
                turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    except Exception as error:
        raise unreadable(path, error) from error
    return (width, height) if turned else (height, width)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Opens an image file, of a format and a size that are decoded, and reads its header.

    Raises:
        InputError: it is no file, such as a pipe, on which reading would wait; or too large.
    """
    ordinary = stat.S_ISREG(path.stat().st_mode)
    require(ordinary, "is a folder, pipe, socket or device, no file: replace or remove it")
    with Image.open(path, formats=_FORMATS) as image:
        pixels = _pixels(image)
        require(
            Image.MAX_IMAGE_PIXELS is None or pixels <= Image.MAX_IMAGE_PIXELS,
            f"has {image.width} x {image.height} pixels, {pixels} with those around it: at most "
            f"{Image.MAX_IMAGE_PIXELS} are decoded; scale it down",
        )
        yield image


def _pixels(image: Image.Image) -> int:
    """Returns how many pixels a decoder makes at least: a TIFF file's tiles may be larger."""
    tags = getattr(image, "tag_v2", {})
    tile_width, tile_height = (tags.get(tag, 0) for tag in _TIFF_TILE)
    return max(image.width, int(tile_width)) * max(image.height, int(tile_height))


class _Budget:
    """Keeps what several threads take at once within a sum.

    Args:
        total: the sum; whoever wants more waits until nobody else has any.
    """

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Waits until so much is left, and takes it for the block."""
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


_decoding = _Budget(_DECODING_BYTES)


def decode(path: Path, standard: Standard) -> np.ndarray:
    """Decodes an image file's first frame and brings it to the standard form.

    Returns:
        uint8, (size, size, 3).

    Raises:
        InputError: names a file that is no image, is truncated, or can't be read.
    """
    with decoded(path, standard.size) as rgb:
        pixels = standardize_rgb(rgb, standard)
        rgb.close()  # Its memory is free before it counts as free.
        return pixels


def decode_rgb(path: Path, side: int) -> Image.Image:
    """Decodes an image file's first frame, upright as its EXIF data says, to 8-bit RGB.

    Args:
        path: the file.
        side: the longer side in pixels of what the image is to be resized to. A JPEG file both
            sides of which are four times as long or more is decoded at a half, a quarter or an
            eighth of its size.

    Raises:
        InputError: names a file that is no image, is truncated, or can't be read.
    """
    with decoded(path, side) as rgb:
        return rgb


@contextlib.contextmanager
def decoded(
    path: Path, side: int, convert: Callable[[Image.Image], Image.Image] = to_rgb
) -> Iterator[Image.Image]:
    """Decodes a file by `convert` as `decode_rgb` does, and holds its memory for the block."""
    with contextlib.ExitStack() as held:
        try:
            image = held.enter_context(_opened(path))
            each = _PIXEL_BYTES.get(str(image.format), _OTHER_PIXEL_BYTES)
            held.enter_context(_decoding.take(_pixels(image) * each))
            # A JPEG decoder scales down by powers of two for nearly nothing. Twice the side
            # leaves the antialiased resizing its work.
            image.draft(None, (2 * side, 2 * side))
            ImageOps.exif_transpose(image, in_place=True)
            converted = convert(image)
            if converted is not image:
                image.close()
        except Exception as error:
            # Pillow's decoders meet broken files with exceptions of many types, some with none of
            # their own: OSError, SyntaxError, ValueError, struct.error, zlib.error, EOFError.
            raise unreadable(path, error) from error
        yield converted


def unreadable(path: Path, error: Exception) -> InputError:
    """Makes the one-line error for a file that Pillow couldn't open or decode."""
    if isinstance(error, InputError):
        return InputError(f"{path} {error}")
    if isinstance(error, Image.UnidentifiedImageError):
        return InputError(
            f"{path} is no image that can be read ({', '.join(_FORMATS)}): replace or remove it"
        )
    if isinstance(error, Image.DecompressionBombError):
        return InputError(f"{path} is too large to decode: {one_line(error)}; scale it down")
    reason = getattr(error, "strerror", None) or one_line(error)
    return InputError(f"{path} can't be read as an image ({reason}): replace or remove it")


def decode_all(paths: Sequence[Path], standard: Standard) -> Iterator[np.ndarray]:
    """Decodes files in order, several at once, at most 64 ahead of the one asked for.

    Yields:
        uint8, (size, size, 3), one for each path.

    Raises:
        InputError: as `decode`, for the first path in order that fails.
    """
    with concurrent.futures.ThreadPoolExecutor(_DECODERS) as pool:
        for start in range(0, len(paths), _DECODED_AHEAD):
            ahead = paths[start : start + _DECODED_AHEAD]
            yield from pool.map(decode, ahead, [standard] * len(ahead))
