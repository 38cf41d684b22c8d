"""Keeps a teacher's outputs for the training images, so that not every epoch computes them anew."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import keras
import numpy as np
from keras import tree

from tfcompress.config import Training
from tfcompress.data.nested import slices
from tfcompress.data.pipelines import Stream
from tfcompress.data.protocol import Data, RandomAccess
from tfcompress.graph.nodes import functional
from tfcompress.training.devices import on_one
from tfcompress.training.distill.plain import FEATURES
from tfcompress.training.evaluate import runner

# What the outputs may take of the memory.
_MOST_BYTES = 256 * 2**20
# A multiple of the usual batch sizes: kernels then sum in the same order, to the last bit.
_BATCH = 256


class TeacherOutputs:
    """Gives a teacher's outputs for training examples, all computed when the first are asked for.

    Args:
        teacher: functional, with one output of 32-bit floats; its weights must stay as they are.
        data: the training examples.
        mirrored: whether these are images and mirror images are trained on, too.
    """

    def __init__(self, teacher: keras.Model, data: RandomAccess, *, mirrored: bool) -> None:
        self._teacher = teacher
        self._data = data
        self._mirrored = mirrored

    def of(self, chosen: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        """Returns the outputs for some examples: float32 (n, ...).

        Args:
            chosen: positions in the training split, (n,).
            mirrored: which of them are mirrored, bool (n,).
        """
        return self._values[mirrored.astype(int), chosen]

    @functools.cached_property
    def _values(self) -> np.ndarray:
        """The outputs (1, examples, ...) or, with mirror images behind them, (2, ...)."""
        predict = _on_one_device(runner(self._teacher).predict_on_batch)
        versions: tuple[list[np.ndarray], ...] = ([], []) if self._mirrored else ([],)
        for part in slices(self._data.examples, _BATCH):
            positions = np.arange(part.start, part.stop)
            inputs = self._data.take(positions, "none", np.random.default_rng()).x
            versions[0].append(_only(predict(inputs)))
            if self._mirrored:
                versions[1].append(_only(predict(inputs[:, :, ::-1])))
        return np.stack([np.concatenate(outputs) for outputs in versions])


def _on_one_device(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a prediction that isn't split over the devices of the training."""

    def alone(inputs: Any) -> Any:
        with on_one():
            return predict(inputs)

    return alone


def _only(outputs: Any) -> np.ndarray:
    """Returns the array of a model with one output, which may come in a list or dictionary."""
    return np.asarray(tree.flatten(outputs)[0])


def kept_outputs(
    teacher: keras.Model | None, data: Data, training: Training, augmentation: str
) -> TeacherOutputs | None:
    """Returns the teacher's outputs if to keep them saves time and takes little memory.

    Args:
        teacher: of Keras 3; None if there is none.
        data: the training examples; of a stream nothing is kept.
        training: its epochs, and whether and how it listens to the teacher: losses that look at
            its layers take more than its outputs.
        augmentation: what is done to the images: the outputs for shifted ones can't be kept, nor
            those for mixed ones.
    """
    distillation = training.distillation
    if teacher is None or distillation is None or not distillation.weight:
        return None
    inside = FEATURES & set(distillation.names)
    if "shift" in augmentation or distillation.mix or inside:
        return None
    outputs = functional(teacher).outputs
    if isinstance(data, Stream) or len(outputs) > 1 or None in outputs[0].shape[1:]:
        return None
    examples = cast(RandomAccess, data)
    versions = 2 if "flip" in augmentation else 1
    size = versions * examples.examples * 4 * int(np.prod(outputs[0].shape[1:]))
    if training.epochs <= versions or size > _MOST_BYTES or outputs[0].dtype != "float32":
        return None
    return TeacherOutputs(teacher, examples, mirrored=versions == 2)
