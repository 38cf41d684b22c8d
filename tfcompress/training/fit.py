"""Trains a model, epoch by epoch, so that it can be stopped anywhere and gone on with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.config import InputError, Training
from tfcompress.data.dataset import Dataset
from tfcompress.graph.rewrite import functional
from tfcompress.training import checkpoint as checkpoints
from tfcompress.training.batches import EpochBatches
from tfcompress.training.distillation import Distiller
from tfcompress.training.evaluate import accuracy, jit_compile, runner
from tfcompress.training.outputs import ends_in_softmax

Row = dict[str, float]
Report = Callable[[Row], None]


class TrainingError(InputError):
    """The training can't go on with these settings."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C during training; the message says what is kept."""


def fit(
    model: keras.Model,
    data: Dataset,
    training: Training,
    *,
    seed: int = 0,
    teacher: keras.Model | None = None,
    augmentation: str | None = None,
    checkpoint: Path | None = None,
    on_epoch: Report | None = None,
    on_step: Callable[[int, int, int], None] | None = None,
    tensorboard: Path | None = None,
) -> list[Row]:
    """Trains the model in place; its weights at the end are the last epoch's.

    The test images only measure: no epoch is chosen by them. With the same seed, data and
    machine two trainings end in equal weights, however often they were stopped on the way. Only
    the weights and the random layers' state change: how the model was compiled stays.

    Args:
        model: functional or Sequential, from images to class logits or probabilities.
        data: the training and test images.
        training: epochs, optimizer and rates.
        seed: of order, augmentation and dropout.
        teacher: whose soft targets are learned as `training.distillation_weight` says.
        augmentation: in place of the data set's own.
        checkpoint: file that holds the state after each epoch; if it is there, training goes on
            from it.
        on_epoch: is given each epoch's row, those of the checkpoint too.
        on_step: is given epoch, step and steps an epoch after each step.
        tensorboard: folder for TensorBoard's logs.

    Returns:
        One row an epoch: `epoch` (from 1), `loss`, `train_error` and `test_error` (0 to 1; the
        training error is the mean over the epoch, as the weights change), `learning_rate` (at
        its end), `step_ms` (median of the steps), `seconds` (with the test).

    Raises:
        TrainingError: the loss or a weight is no finite number any more.
        InputError: the checkpoint is damaged, of another model, or of more epochs.
        Stopped: Ctrl-C.
    """
    keras.utils.set_random_seed(seed)
    if training.epochs == 0:
        return []
    flat = functional(model)
    # The same layers in a model of our own, so that the user's stays as it was compiled.
    trainee = keras.Model(flat.inputs, flat.outputs, name=model.name)
    # The weights and the state of the random generators (dropout's), and not the metrics, which
    # start anew each epoch.
    state = list(trainee.variables)
    _seed_generators(state, seed)
    if teacher is not None and training.distillation_weight > 0:
        trainee = Distiller(
            model,
            teacher,
            weight=training.distillation_weight,
            temperature=training.distillation_temperature,
        )
    steps = math.ceil(len(data.train) / training.batch_size)
    optimizer = make_optimizer(training, steps)
    optimizer.build(trainee.trainable_variables)
    state += list(optimizer.variables)
    trainee.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax(model)),
        metrics=["accuracy"],
        jit_compile=jit_compile(),
    )
    tester = runner(model)
    rows: list[Row] = []
    if checkpoint is not None and checkpoint.exists():
        rows = checkpoints.load(checkpoint, state, training.epochs)
    for row in rows:
        if on_epoch:
            on_epoch(row)
    try:
        for epoch in range(len(rows), training.epochs):
            batches = EpochBatches(
                data.train,
                data.normalization,
                augmentation=augmentation or data.augmentation,
                batch_size=training.batch_size,
                seed=seed,
                epoch=epoch,
            )
            watch = _Watch(epoch, steps, on_step)
            started = time.perf_counter()
            callbacks = [watch, *_tensorboard(tensorboard)]
            logs = trainee.fit(
                batches,
                epochs=epoch + 1,
                initial_epoch=epoch,
                verbose=0,
                shuffle=False,
                callbacks=callbacks,
            ).history
            _check_finite(trainee, epoch)
            row = {
                "epoch": epoch + 1,
                "loss": float(logs["loss"][-1]),
                "train_error": 1 - float(logs["accuracy"][-1]),
                "test_error": 1 - accuracy(tester, data),
                "learning_rate": float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
                "step_ms": float(np.median(watch.step_ms)),
                "seconds": time.perf_counter() - started,
            }
            rows.append(row)
            if checkpoint is not None:
                checkpoints.save(checkpoint, state, rows)
            if on_epoch:
                on_epoch(row)
    except KeyboardInterrupt as interrupt:
        kept = f"{len(rows)} of {training.epochs} epochs are kept" if checkpoint else "nothing kept"
        raise Stopped(f"stopped by Ctrl-C; {kept}") from interrupt
    return rows


def _check_finite(model: keras.Model, epoch: int) -> None:
    """Refuses weights and statistics that the last losses don't show to be lost."""
    for variable in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise TrainingError(
                f"{variable.path} isn't finite after epoch {epoch + 1}: try a smaller "
                "--learning_rate"
            )


def _seed_generators(state: list[Any], seed: int) -> None:
    """Starts dropout's and other layers' random generators from the seed, each differently."""
    generators = [variable for variable in state if variable.name == "seed_generator_state"]
    for number, generator in enumerate(generators):
        (start,) = np.random.SeedSequence((seed, number)).generate_state(1) >> 1  # Fits in int32.
        generator.assign([int(start), 0])


def make_optimizer(training: Training, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer with its schedule; weight decay is decoupled from the gradient."""
    steps = max(1, steps_per_epoch * training.epochs)
    rate: Any = training.learning_rate
    if training.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    elif training.schedule == "step":
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([steps // 2], [rate, rate / 10])
    decay = training.weight_decay or None
    if training.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=training.momentum, weight_decay=decay)
    return keras.optimizers.Adam(rate, weight_decay=decay)


class _Watch(keras.callbacks.Callback):
    """Times the steps and stops at a loss that is no number."""

    def __init__(
        self, epoch: int, steps: int, on_step: Callable[[int, int, int], None] | None
    ) -> None:
        super().__init__()
        self.step_ms: list[float] = []
        self._epoch = epoch
        self._steps = steps
        self._on_step = on_step
        self._started = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step_ms.append((time.perf_counter() - self._started) * 1000)
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self._epoch + 1}, step {batch + 1}: try a "
                "smaller --learning_rate"
            )
        if self._on_step:
            self._on_step(self._epoch + 1, batch + 1, self._steps)


def _tensorboard(folder: Path | None) -> list[keras.callbacks.Callback]:
    if folder is None:
        return []
    return [keras.callbacks.TensorBoard(str(folder), profile_batch=0)]
