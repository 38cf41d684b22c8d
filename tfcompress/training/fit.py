"""Trains a model, epoch by epoch, so that it can be stopped anywhere and gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.config import Training
from tfcompress.data.dataset import Dataset
from tfcompress.graph.rewrite import functional
from tfcompress.training.batches import EpochBatches
from tfcompress.training.distillation import Distiller
from tfcompress.training.evaluate import accuracy, jit_compile, runner
from tfcompress.training.loop import Report, Row, Trainee, Watch, epochs, steps_per_epoch
from tfcompress.training.outputs import ends_in_softmax


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
    optimizer = make_optimizer(training, steps_per_epoch(data, training))
    optimizer.build(trainee.trainable_variables)
    state += list(optimizer.variables)
    trainee.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax(model)),
        metrics=["accuracy"],
        jit_compile=jit_compile(),
    )
    tester = runner(model)

    def fit_epoch(batches: EpochBatches, epoch: int, watch: Watch) -> dict[str, float]:
        history = trainee.fit(
            batches,
            epochs=epoch + 1,
            initial_epoch=epoch,
            verbose=0,
            shuffle=False,
            callbacks=[watch.callback(keras.callbacks.Callback), *_tensorboard(tensorboard)],
        ).history
        return {key: float(history[key][-1]) for key in ("loss", "accuracy")}

    return epochs(
        Trainee(
            fit=fit_epoch,
            state=state,
            weights=trainee.weights,
            accuracy=lambda: accuracy(tester, data),
            learning_rate=lambda: float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
        ),
        data,
        training,
        seed=seed,
        augmentation=augmentation,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        on_step=on_step,
    )


def _seed_generators(state: list[Any], seed: int) -> None:
    """Starts dropout's and other layers' random generators from the seed, each differently."""
    generators = [variable for variable in state if variable.name == "seed_generator_state"]
    for number, generator in enumerate(generators):
        (start,) = np.random.SeedSequence((seed, number)).generate_state(1) >> 1  # Fits in int32.
        generator.assign([int(start), 0])


def make_optimizer(
    training: Training, steps_per_epoch: int, optimizers: Any = keras.optimizers
) -> Any:
    """The optimizer with its schedule; weight decay is decoupled from the gradient.

    Args:
        training: rates and schedule.
        steps_per_epoch: batches.
        optimizers: `keras.optimizers`, or the module of another Keras with the same names.
    """
    steps = max(1, steps_per_epoch * training.epochs)
    rate: Any = training.learning_rate
    if training.learning_rate_schedule == "cosine":
        rate = optimizers.schedules.CosineDecay(rate, steps)
    elif training.learning_rate_schedule == "step":
        rate = optimizers.schedules.PiecewiseConstantDecay([steps // 2], [rate, rate / 10])
    decay = training.weight_decay or None
    if training.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=training.momentum, weight_decay=decay)
    return optimizers.Adam(rate, weight_decay=decay)


def _tensorboard(folder: Path | None) -> list[keras.callbacks.Callback]:
    if folder is None:
        return []
    return [keras.callbacks.TensorBoard(str(folder), profile_batch=0)]
