"""Training batches: shuffled, augmented; the same for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import keras
import numpy as np

from tfcompress.data.augmentation import mirrored
from tfcompress.data.pipelines import Batches, Stream
from tfcompress.data.protocol import Batch, Data, RandomAccess
from tfcompress.training.teacher import TeacherOutputs

# Batches whose types and shapes Keras looks at before it trains on them.
_LOOKED_AT = 2


def epoch_batches(
    data: Data,
    *,
    augmentation: str | None,
    batch_size: int,
    seed: int,
    epoch: int,
    labelled: bool = True,
    teacher_outputs: TeacherOutputs | None = None,
) -> EpochBatches | StreamBatches:
    """Returns one epoch of any data; the arguments are those of `EpochBatches`.

    Args:
        data: examples, which are shuffled, or a stream, which has its own order.
        augmentation: None for the data's own.
        batch_size: a stream has its own.
        seed: of the whole training.
        epoch: counted from 0.
        labelled: whether targets and weights are given, too.
        teacher_outputs: of examples.
    """
    if isinstance(data, Stream):
        return StreamBatches(data.train, labelled=labelled)
    return EpochBatches(
        cast(RandomAccess, data),
        augmentation=augmentation or data.augmentation,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        labelled=labelled,
        teacher_outputs=teacher_outputs,
    )


class EpochBatches(keras.utils.PyDataset):
    """Gives Keras one epoch of training examples.

    Order and augmentation follow from (seed, epoch) alone, not from what was drawn before: an
    epoch that is begun again after a crash is the same epoch.

    Args:
        data: the examples.
        augmentation: `none`, `flip` (left to right, half of the images), `shift` (each image by
            up to 4 pixels in 32 each way, black moving in), or `flip+shift`.
        batch_size: examples in a batch; the last one may be smaller.
        seed: of the whole training.
        epoch: counted from 0.
        labelled: whether targets and weights are given, too.
        teacher_outputs: of these examples; None if there are none to learn from, or the training
            computes them itself.
    """

    def __init__(
        self,
        data: RandomAccess,
        *,
        augmentation: str,
        batch_size: int,
        seed: int,
        epoch: int,
        labelled: bool = True,
        teacher_outputs: TeacherOutputs | None = None,
    ) -> None:
        super().__init__()
        self._data = data
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._seed = (seed, epoch)
        self._labelled = labelled
        self._teacher_outputs = teacher_outputs
        self._order = np.random.default_rng(self._seed).permutation(data.examples)

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Returns batch `index` as `fit` takes it, such as images and labels.

        With a teacher's outputs, these stand beside the inputs: `(inputs, outputs), targets`.
        """
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        seed = (*self._seed, index)
        batch = self._data.take(chosen, self._augmentation, np.random.default_rng(seed))
        if self._teacher_outputs is not None:
            # The augmentation draws this first, and so it is drawn alike.
            flipped = mirrored(len(chosen), self._augmentation, np.random.default_rng(seed))
            batch = batch._replace(x=(batch.x, self._teacher_outputs.of(chosen, flipped)))
        return _as_fit(batch, self._labelled)


class StreamBatches(keras.utils.PyDataset):
    """Gives Keras one epoch of a stream, in the stream's own order.

    Args:
        batches: the stream's.
        labelled: whether targets and weights are given, too.
    """

    def __init__(self, batches: Batches, *, labelled: bool = True) -> None:
        super().__init__()  # One worker: a stream can't be read at two places.
        self._steps = batches.steps
        self._labelled = labelled
        self._batches: Iterator[Batch] = iter(batches)
        self._kept: list[tuple[Any, ...]] = []
        self._read = 0

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Returns the next batch as `fit` takes it, or one of the first again."""
        if index < len(self._kept):
            return self._kept[index]
        batch = _as_fit(next(self._batches), self._labelled)
        self._read += 1
        if index < _LOOKED_AT:
            self._kept.append(batch)
        return batch

    def on_epoch_end(self) -> None:
        """Ends the pass, where the stream counts its batches and may shuffle itself.

        Keras calls this before an epoch as well.
        """
        if self._read == self._steps:
            for _ in self._batches:
                pass


def _as_fit(batch: Batch, labelled: bool) -> tuple[Any, ...]:
    """Returns a batch as `fit` takes it, the inputs alone if nothing else is to be read."""
    return batch.as_fit() if labelled else Batch(batch.x).as_fit()
