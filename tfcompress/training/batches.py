"""Training batches: shuffled, augmented, normalised; the same for the same seed and epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfcompress.data.dataset import Normalization, Split
from tfcompress.training.teacher import TeacherOutputs

SHIFT_PIXELS_PER_32 = 4


class EpochBatches(keras.utils.PyDataset):
    """Gives Keras one epoch of a split.

    Order and augmentation follow from (seed, epoch) alone, not from what was drawn before: an
    epoch that is begun again after a crash is the same epoch.

    Args:
        split: the images and labels.
        normalization: from uint8 to the network's input.
        augmentation: `none`, `flip` (left to right, half of the images), `shift` (each image by
            up to 4 pixels in 32 each way, black moving in), or `flip+shift`.
        batch_size: images in a batch; the last one may be smaller.
        seed: of the whole training.
        epoch: counted from 0.
        teacher_outputs: of these images; None if there are none to learn from, or the training
            computes them itself.
    """

    def __init__(
        self,
        split: Split,
        normalization: Normalization,
        *,
        augmentation: str,
        batch_size: int,
        seed: int,
        epoch: int,
        teacher_outputs: TeacherOutputs | None = None,
    ) -> None:
        super().__init__()
        self._split = split
        self._normalization = normalization
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._seed = (seed, epoch)
        self._teacher_outputs = teacher_outputs
        self._order = np.random.default_rng(self._seed).permutation(len(split))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Returns batch `index`: float32 (n, height, width, 3) and int32 labels (n,).

        With a teacher's outputs, these stand beside the images: `(images, outputs), labels`.
        """
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        images = self._split.images.batch(chosen)
        seed = (*self._seed, index)
        images = augment(images, self._augmentation, np.random.default_rng(seed))
        inputs, labels = self._normalization(images), self._split.labels[chosen]
        if self._teacher_outputs is None:
            return inputs, labels
        mirrored = _mirrored(len(chosen), self._augmentation, np.random.default_rng(seed))
        return (inputs, self._teacher_outputs.of(chosen, mirrored)), labels


def augment(images: np.ndarray, augmentation: str, rng: np.random.Generator) -> np.ndarray:
    """Returns flipped and shifted copies of uint8 images (n, height, width, channels)."""
    mirrored = _mirrored(len(images), augmentation, rng)
    if mirrored.any():
        images = images.copy()
        images[mirrored] = images[mirrored, :, ::-1]
    if "shift" in augmentation.split("+"):
        images = _shift(images, rng)
    return images


def _mirrored(count: int, augmentation: str, rng: np.random.Generator) -> np.ndarray:
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
