"""Flips and shifts training images, as drawn by a generator of random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tfcompress.data.normalization import Normalization
    from tfcompress.data.stores import Images

SHIFT_PIXELS_PER_32 = 4


def augmented_inputs(
    images: Images,
    positions: np.ndarray,
    normalization: Normalization,
    augmentation: str,
    rng: np.random.Generator | None,
) -> np.ndarray:
    """Returns the images at these positions as a model is given them.

    Args:
        images: where they are kept.
        positions: int, (n,).
        normalization: from pixels to what the model takes.
        augmentation: one of `config.AUGMENTATIONS`.
        rng: draws what the augmentation does to each image; `none` needs none.
    """
    pixels = images.batch(positions)
    if augmentation != "none":
        pixels = augment(pixels, augmentation, rng or np.random.default_rng())
    return normalization(pixels)


def augment(images: np.ndarray, augmentation: str, rng: np.random.Generator) -> np.ndarray:
    """Returns flipped and shifted copies of uint8 images (n, height, width, channels)."""
    flipped = mirrored(len(images), augmentation, rng)
    if flipped.any():
        images = images.copy()
        images[flipped] = images[flipped, :, ::-1]
    if "shift" in augmentation.split("+"):
        images = _shift(images, rng)
    return images


def mirrored(count: int, augmentation: str, rng: np.random.Generator) -> np.ndarray:
    """Draws which images of a batch are mirrored; it is what an augmentation draws first."""
    if "flip" not in augmentation.split("+"):
        return np.zeros(count, bool)
    return rng.random(count) < 0.5


def _shift(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moves each image by its own offset, as padding with black and cropping at random do."""
    count, height, width, _ = images.shape
    reach = max(1, height * SHIFT_PIXELS_PER_32 // 32), max(1, width * SHIFT_PIXELS_PER_32 // 32)
    padded = np.pad(images, ((0, 0), (reach[0],) * 2, (reach[1],) * 2, (0, 0)))
    tops = rng.integers(0, 2 * reach[0] + 1, count)
    lefts = rng.integers(0, 2 * reach[1] + 1, count)
    shifted = np.empty_like(images)
    # Slices are copied row by row; one index for all images would take ten times as long.
    for into, image, top, left in zip(shifted, padded, tops, lefts, strict=True):
        into[:] = image[top : top + height, left : left + width]
    return shifted
