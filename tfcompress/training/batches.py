"""Training batches: shuffled, augmented; the same for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import keras
import numpy as np

from tfcompress.data.augmentation import mirrored
from tfcompress.data.pipelines import Batches, Stream
from tfcompress.data.protocol import Batch, Data, RandomAccess
from tfcompress.errors import require
from tfcompress.training.devices import ONE, Devices
from tfcompress.training.teacher import TeacherOutputs

# Batches whose types and shapes Keras looks at before it trains on them.
_LOOKED_AT = 2
Finish = Callable[[Batch, int], tuple[Any, ...]]


def epoch_batches(
    data: Data,
    *,
    augmentation: str | None,
    batch_size: int,
    seed: int,
    epoch: int,
    labelled: bool = True,
    mix: float = 0.0,
    teacher_outputs: TeacherOutputs | None = None,
    devices: Devices = ONE,
) -> EpochBatches | StreamBatches:
    """Returns one epoch of any data; the arguments are those of `EpochBatches`.

    Args:
        data: examples, which are shuffled, or a stream, which has its own order.
        augmentation: None for the data's own.
        batch_size: a stream has its own.
        seed: of the whole training.
        epoch: counted from 0.
        labelled: whether targets and weights are given, too.
        mix: alpha of the Beta distribution by which pairs of a batch's inputs are mixed, which then
            have no targets; 0 mixes none.
        teacher_outputs: of examples.
        devices: what each batch must be split over.
    """
    finish = _finisher(labelled, mix, (seed, epoch))
    if devices.count > 1:
        finish = _filling(finish, devices)
    if isinstance(data, Stream):
        return StreamBatches(data.train, finish)
    return EpochBatches(
        cast(RandomAccess, data),
        augmentation=augmentation or data.augmentation,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        finish=finish,
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
        finish: makes of a batch and its number what `fit` takes.
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
        finish: Finish | None = None,
        teacher_outputs: TeacherOutputs | None = None,
    ) -> None:
        super().__init__()
        self._data = data
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._seed = (seed, epoch)
        self._finish = finish or _as_fit
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
        return self._finish(batch, index)


class StreamBatches(keras.utils.PyDataset):
    """Gives Keras one epoch of a stream, in the stream's own order.

    Args:
        batches: the stream's.
        finish: makes of a batch and its number what `fit` takes.
    """

    def __init__(self, batches: Batches, finish: Finish | None = None) -> None:
        super().__init__()  # One worker: a stream can't be read at two places.
        self._steps = batches.steps
        self._finish = finish or _as_fit
        self._batches: Iterator[Batch] = iter(batches)
        self._kept: list[tuple[Any, ...]] = []
        self._read = 0

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Returns the next batch as `fit` takes it, or one of the first again."""
        if index < len(self._kept):
            return self._kept[index]
        batch = self._finish(next(self._batches), index)
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


def _as_fit(batch: Batch, number: int) -> tuple[Any, ...]:
    """Returns a batch as `fit` takes it."""
    return batch.as_fit()


def _finisher(labelled: bool, mix: float, seed: tuple[int, int]) -> Finish:
    """Returns what makes of a batch and its number what `fit` takes."""
    if labelled:
        return _as_fit

    def inputs_alone(batch: Batch, number: int) -> tuple[Any, ...]:
        x = batch.x
        if mix:
            # Apart from the augmentation, which draws from (seed, epoch, number).
            x = mixed(x, mix, np.random.default_rng((*seed, number, 1)))
        return Batch(x).as_fit()

    return inputs_alone


def _filling(finish: Finish, devices: Devices) -> Finish:
    """Returns what makes batches that devices can share."""
    return lambda batch, number: devices.filled(finish(batch, number))


def mixed(x: Any, alpha: float, rng: np.random.Generator) -> Any:
    """Returns examples that are each mixed with another one: `share * a + (1 - share) * b`.

    Args:
        x: inputs of any structure, arrays of floats (n, ...).
        alpha: shares are drawn from Beta(alpha, alpha), one for each example.
        rng: draws the shares and the pairs.

    Raises:
        InputError: an input isn't of floats: the mean of two words is none.

    Reference:
        Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412.
    """
    arrays = [np.asarray(part) for part in keras.tree.flatten(x)]
    for array in arrays:
        require(
            array.dtype.kind == "f",
            f"distillation.mix mixes inputs of floats; got {array.dtype}: leave it at 0",
        )
    count = len(arrays[0])
    shares, others = rng.beta(alpha, alpha, count), rng.permutation(count)
    made = []
    for array in arrays:
        share = shares.reshape(-1, *(1,) * (array.ndim - 1)).astype(array.dtype)
        made.append(share * array + (1 - share) * array[others])
    return keras.tree.pack_sequence_as(x, made)
