"""What a model sees of 8-bit pixels: less their mean, divided by their standard deviation."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfcompress.data.stores import Images
from tfcompress.errors import require

# Mean and deviation are measured on at most this many images, and as many at a time.
_MEASURED_IMAGES = 10_000
_MEASURED_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Normalization:
    """What a model sees of an 8-bit image x: `(x - mean) / std`, for each channel.

    Attributes:
        mean: of red, green and blue, or of grey, on the scale 0..255.
        std: likewise, positive.

    >>> Normalization.symmetric()(np.uint8([[[[0, 255, 51]]]]))
    array([[[[-1. ,  1. , -0.6]]]], dtype=float32)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuses what can't be divided by."""
        require(
            len(self.mean) == len(self.std) and len(self.mean) in (1, 3) and min(self.std) > 0,
            f"a normalization needs a mean and a positive deviation for each of 1 or 3 channels; "
            f"got mean {self.mean}, std {self.std}",
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalises uint8 images, (..., channels), to float32 of the same shape."""
        # Repeated for a whole row of pixels: NumPy takes six times as long with three values.
        row = images.shape[-2:]
        normalized: np.ndarray = images - np.resize(np.asarray(self.mean, np.float32), row)
        normalized /= np.resize(np.asarray(self.std, np.float32), row)
        return normalized

    @classmethod
    def identity(cls, channels: int = 3) -> Normalization:
        """Returns the normalisation that leaves pixels in 0..255."""
        return cls((0.0,) * channels, (1.0,) * channels)

    @classmethod
    def unit(cls, channels: int = 3) -> Normalization:
        """Returns the normalisation that brings pixels to 0..1."""
        return cls((0.0,) * channels, (255.0,) * channels)

    @classmethod
    def symmetric(cls, channels: int = 3) -> Normalization:
        """Returns the normalisation that brings pixels to -1..1."""
        return cls((127.5,) * channels, (127.5,) * channels)

    @classmethod
    def of(cls, images: Images) -> Normalization:
        """Measures the normalisation that gives images mean 0 and deviation 1 in each channel.

        Exact for up to 10,000 images; of more, that many are drawn by a fixed seed.
        A channel that never changes is only centred (std 1).

        Raises:
            InputError: there are no images.
        """
        require(len(images) > 0, "there are no images to measure mean and deviation of")
        positions = np.arange(len(images))
        if len(positions) > _MEASURED_IMAGES:
            generator = np.random.default_rng(0)
            positions = np.sort(generator.choice(positions, _MEASURED_IMAGES, replace=False))
        # Counting values instead of summing pixels: exact, in one pass over a few images at a time.
        channels = images.shape[2]
        counts = np.zeros((channels, 256), np.int64)
        for start in range(0, len(positions), _MEASURED_AT_ONCE):
            pixels = images.batch(positions[start : start + _MEASURED_AT_ONCE])
            for channel in range(channels):
                counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
        values = np.arange(256)
        total = counts.sum(axis=1)
        mean = counts @ values / total
        variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / total
        std = np.sqrt(np.where(variance > 0, variance, 1.0))
        return cls(tuple(map(float, mean)), tuple(map(float, std)))
