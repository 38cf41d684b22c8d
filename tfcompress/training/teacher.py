"""Keeps a teacher's outputs for the training images, so that not every epoch computes them anew."""

from __future__ import annotations

import functools

import keras
import numpy as np

from tfcompress.config import Training
from tfcompress.data.dataset import Dataset
from tfcompress.graph.nodes import functional
from tfcompress.training.evaluate import runner

# What the outputs may take of the memory.
_MOST_BYTES = 256 * 2**20
# A multiple of the usual batch sizes: kernels then sum in the same order, to the last bit.
_BATCH = 256


class TeacherOutputs:
    """Gives a teacher's outputs for training images, all computed when the first are asked for.

    Args:
        teacher: functional, with one output of 32-bit floats; its weights must stay as they are.
        data: the training images and their normalisation.
        mirrored: whether mirror images are trained on, too.
    """

    def __init__(self, teacher: keras.Model, data: Dataset, *, mirrored: bool) -> None:
        self._teacher = teacher
        self._data = data
        self._mirrored = mirrored

    def of(self, chosen: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        """Returns the outputs for some images: float32 (n, classes).

        Args:
            chosen: positions in the training split, (n,).
            mirrored: which of them are mirrored, bool (n,).
        """
        return self._values[mirrored.astype(int), chosen]

    @functools.cached_property
    def _values(self) -> np.ndarray:
        """The outputs (1, images, classes) or, with mirror images behind them, (2, ...)."""
        predict = runner(self._teacher).predict_on_batch
        split, normalization = self._data.train, self._data.normalization
        versions: tuple[list[np.ndarray], ...] = ([], []) if self._mirrored else ([],)
        for start in range(0, len(split), _BATCH):
            images = split.images.batch(np.arange(start, min(start + _BATCH, len(split))))
            for outputs, version in zip(versions, (images, images[:, :, ::-1]), strict=False):
                outputs.append(np.asarray(predict(normalization(version))))
        return np.stack([np.concatenate(outputs) for outputs in versions])


def kept_outputs(
    teacher: keras.Model | None, data: Dataset, training: Training, augmentation: str
) -> TeacherOutputs | None:
    """Returns the teacher's outputs if to keep them saves time and takes little memory.

    Args:
        teacher: of Keras 3; None if there is none.
        data: the training images.
        training: its epochs, and whether it listens to the teacher.
        augmentation: what is done to the images: the outputs for shifted ones can't be kept.
    """
    if teacher is None or not training.distillation_weight or "shift" in augmentation:
        return None
    versions = 2 if "flip" in augmentation else 1
    output = functional(teacher).outputs[0]
    size = versions * len(data.train) * 4 * int(np.prod(output.shape[1:]))
    if training.epochs <= versions or size > _MOST_BYTES or output.dtype != "float32":
        return None
    return TeacherOutputs(teacher, data, mirrored=versions == 2)
