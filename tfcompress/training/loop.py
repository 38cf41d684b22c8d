"""Runs the epochs of a training, which can be stopped anywhere and gone on with."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.errors import InputError
from tfcompress.training import checkpoint as checkpoints
from tfcompress.training.batches import epoch_batches
from tfcompress.training.context import Row, TrainingContext
from tfcompress.training.devices import ONE, Devices
from tfcompress.training.teacher import TeacherOutputs

# What every epoch's row has, whatever the examples are judged by.
_KEYS = ("epoch", "loss", "learning_rate", "step_ms", "seconds")


class TrainingError(InputError):
    """The training can't go on with these settings."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C during training; the message says what is kept."""


@dataclasses.dataclass(frozen=True)
class Trainee:
    """Holds what the loop over the epochs needs of the model that is trained.

    Attributes:
        fit: trains one epoch (counted from 0) of the batches, calls the watch at each step, and
            returns the row's values: `loss`, and what the training and the held-out examples are
            judged by, such as `train_error` and `test_error`.
        state: the variables that a checkpoint holds: weights, the optimizer's, random generators'.
        weights: those that must stay finite.
        learning_rate: the optimizer's present rate.
        teacher_outputs: are put into the batches; None for batches of examples alone.
        labelled: whether the batches have targets and weights.
        mix: alpha of the Beta distribution by which examples are mixed; 0 for none.
        stopped: says whether a callback wants no further epoch.
        devices: what batches are split over.
    """

    fit: Callable[[Any, int, Watch], dict[str, float]]
    state: Sequence[Any]
    weights: Sequence[Any]
    learning_rate: Callable[[], float]
    teacher_outputs: TeacherOutputs | None = None
    labelled: bool = True
    mix: float = 0.0
    stopped: Callable[[], bool] = lambda: False
    devices: Devices = ONE


def epochs(
    trainee: Trainee,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> list[Row]:
    """Trains epoch by epoch; arguments, rows and errors are those of `training.fit`."""
    data = data if context.transfer is None else context.transfer
    checkpoint, on_epoch = context.checkpoint, context.on_epoch
    steps = steps_per_epoch(data, training)
    rows: list[Row] = []
    if checkpoint is not None and checkpoint.exists():
        rows = checkpoints.load(checkpoint, list(trainee.state), training.epochs, _KEYS)
    for row in rows:
        if on_epoch:
            on_epoch(row)
    try:
        for epoch in range(len(rows), training.epochs):
            batches = epoch_batches(
                data,
                labelled=trainee.labelled,
                mix=trainee.mix,
                augmentation=context.augmentation,
                batch_size=training.batch_size,
                seed=context.seed,
                epoch=epoch,
                teacher_outputs=trainee.teacher_outputs,
                devices=trainee.devices,
            )
            watch = Watch(epoch, steps, context.on_step)
            started = time.perf_counter()
            values = trainee.fit(batches, epoch, watch)
            _check_finite(trainee.weights, epoch)
            row = {
                "epoch": epoch + 1,
                **values,
                "learning_rate": trainee.learning_rate(),
                "step_ms": float(np.median(watch.step_ms)),
                "seconds": time.perf_counter() - started,
            }
            rows.append(row)
            if checkpoint is not None:
                checkpoints.save(checkpoint, list(trainee.state), rows)
            if on_epoch:
                on_epoch(row)
            if trainee.stopped():
                break
    except KeyboardInterrupt as interrupt:
        kept = f"{len(rows)} of {training.epochs} epochs are kept" if checkpoint else "nothing kept"
        raise Stopped(f"stopped by Ctrl-C; {kept}") from interrupt
    return rows


def steps_per_epoch(data: Data, training: Training) -> int:
    """Counts the steps of an epoch, the last one with fewer examples included."""
    return data.steps(training.batch_size)


def _check_finite(weights: Sequence[Any], epoch: int) -> None:
    """Refuses weights and batch statistics that aren't finite, though the last losses were."""
    for variable in weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            name = getattr(variable, "path", variable.name)
            raise TrainingError(
                f"{name} isn't finite after epoch {epoch + 1}: try a smaller --learning_rate"
            )


class Watch:
    """Times the steps and stops at a loss that is no number.

    Args:
        epoch: from 0.
        steps: of an epoch.
        on_step: is given epoch (from 1), step and steps after each step.
    """

    def __init__(
        self, epoch: int, steps: int, on_step: Callable[[int, int, int], None] | None
    ) -> None:
        self.step_ms: list[float] = []
        self._epoch = epoch
        self._steps = steps
        self._on_step = on_step
        self._started = 0.0

    def begin(self) -> None:
        """Notes that a step begins."""
        self._started = time.perf_counter()

    def end(self, step: int, loss: float) -> None:
        """Notes that a step, counted from 0, has ended.

        Raises:
            TrainingError: the loss isn't finite.
        """
        self.step_ms.append((time.perf_counter() - self._started) * 1000)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self._epoch + 1}, step {step + 1}: try a "
                "smaller --learning_rate"
            )
        if self._on_step:
            self._on_step(self._epoch + 1, step + 1, self._steps)

    def callback(self, base: type) -> Any:
        """Makes a callback of the watch, of Keras's or of tf_keras's class."""
        watch = self

        class StepCallback(base):
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                watch.begin()

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                watch.end(batch, (logs or {}).get("loss", 0.0))

        return StepCallback()
