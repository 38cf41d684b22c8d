"""Images that are made as they are asked for: mixtures of others, and noise."""

from __future__ import annotations

import numpy as np

from tfcompress.data.stores import Images


class MixedImages:
    """Mixtures of two images each, `w * a + (1 - w) * b`, with w drawn evenly from 0 to 1.

    Args:
        images: what is mixed.
        count: how many mixtures there are; each stays the same whenever it is asked for.
        seed: of the pairs and shares.

    Reference:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412; shares
        drawn evenly, as Beyer et al. 2022, arXiv:2106.05237, have them for distillation.
    """

    def __init__(self, images: Images, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.shape = images.shape
        self._images = images
        self._pairs = rng.integers(0, len(images), (2, count))
        self._shares = rng.random(count, dtype=np.float32)

    def __len__(self) -> int:
        return len(self._shares)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Returns the mixtures at these positions: uint8, (n, H, W, channels)."""
        share = self._shares[indices][:, None, None, None]
        first, second = (self._images.batch(places[indices]) for places in self._pairs)
        return np.rint(share * first + (1 - share) * second).astype(np.uint8)


class NoiseImages:
    """Images each value of which is drawn evenly from 0 to 255.

    Args:
        shape: (height, width, channels) of one.
        count: how many there are; each stays the same whenever it is asked for.
        seed: of the values.
    """

    def __init__(self, shape: tuple[int, int, int], count: int, seed: int) -> None:
        self.shape = shape
        self._count = count
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Returns the images at these positions: uint8, (n, H, W, channels)."""
        images = np.empty((len(indices), *self.shape), np.uint8)
        for row, index in enumerate(indices):
            rng = np.random.default_rng((self._seed, int(index)))
            images[row] = rng.integers(0, 256, self.shape, dtype=np.uint8)
        return images
