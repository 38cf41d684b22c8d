"""Where a data set's images are: in one array, in files, or among other images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tfcompress.errors import InputError
from tfcompress.images import Standard, decode_all

# Red's, green's and blue's share of grey, in 65,536ths.
_GREY = (19595, 38470, 7471)


class Images(Protocol):
    """Random access to 8-bit images of one size, in memory or streamed.

    Attributes:
        shape: (height, width, channels) of one image: 3 channels for RGB, 1 for grey.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one image."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Returns the images at these positions: uint8, (n, height, width, channels)."""
        ...


class ArrayImages:
    """Images in one array, in memory or mapped from a file.

    Args:
        array: uint8, (N, H, W, 3).

    Raises:
        InputError: another type or shape.
    """

    def __init__(self, array: np.ndarray):
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
            raise InputError(
                f"images must be uint8 of shape (N, H, W, 3); got {array.dtype} of {array.shape}"
            )
        self.array = array
        self.shape = (int(array.shape[1]), int(array.shape[2]), 3)

    def __len__(self) -> int:
        return len(self.array)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Returns the images at these positions: uint8, (n, H, W, 3), a copy."""
        return np.asarray(self.array[indices])


class FileImages:
    """Image files, decoded when asked for; nothing is kept, so memory stays bounded.

    Args:
        paths: the files.
        standard: what each image is brought to.
    """

    def __init__(self, paths: Sequence[Path], standard: Standard):
        self.paths = list(paths)
        self.standard = standard
        self.shape = (standard.size, standard.size, 3)

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Decodes the images at these positions: uint8, (n, size, size, 3).

        Raises:
            InputError: names a file that can't be decoded.
        """
        wanted = [self.paths[index] for index in indices]
        out = np.empty((len(wanted), *self.shape), np.uint8)
        for row, image in enumerate(decode_all(wanted, self.standard)):
            out[row] = image
        return out


class SelectedImages:
    """Some of other images, without a copy.

    Args:
        images: the images to choose from.
        positions: int, (n,): which of them, in which order.
    """

    def __init__(self, images: Images, positions: np.ndarray):
        self.images = images
        self.positions = np.asarray(positions)
        self.shape = images.shape

    def __len__(self) -> int:
        return len(self.positions)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Returns the images at these positions of the selection: uint8, (n, H, W, channels)."""
        return self.images.batch(self.positions[indices])


class GreyImages:
    """Other images in grey, without a copy: what is grey already keeps its values.

    Args:
        images: RGB.
    """

    def __init__(self, images: Images):
        self.images = images
        self.shape = (*images.shape[:2], 1)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Returns the images at these positions in grey: uint8, (n, H, W, 1).

        The weights are those of ITU-R 601-2 in 65,536ths, as Pillow has them: a deployed program
        that converts a picture by Pillow gives the model the same values.
        """
        rgb = self.images.batch(indices).astype(np.uint32)
        grey = (rgb @ np.array(_GREY, np.uint32) + 0x8000) >> 16
        return grey.astype(np.uint8)[..., None]
