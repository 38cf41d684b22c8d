"""Trains a model, epoch by epoch, so that it can be stopped anywhere and gone on with."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.config import Training
from tfcompress.data.dataset import Dataset
from tfcompress.graph.rewrite import functional
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.distillation import Distiller
from tfcompress.training.evaluate import accuracy, jit_compile, runner
from tfcompress.training.loop import Trainee, epochs, steps_per_epoch
from tfcompress.training.outputs import ends_in_softmax
from tfcompress.training.teacher import kept_outputs


def fit(
    model: keras.Model,
    data: Dataset,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
    **keywords: Any,
) -> list[Row]:
    """Trains the model in place; its weights at the end are the last epoch's.

    The test images only measure: no epoch is chosen by them. With the same seed, data and
    machine two trainings end in equal weights, however often they were stopped on the way. Only
    the weights and the random layers' state change: how the model was compiled stays.

    Args:
        model: functional or Sequential, from images to class logits or probabilities.
        data: the training and test images.
        training: epochs, optimizer and rates.
        context: seed, teacher, augmentation, checkpoint and callbacks.
        keywords: deprecated: the fields of the context, each by itself.

    Returns:
        One row an epoch: `epoch` (from 1), `loss`, `train_error` and `test_error` (0 to 1; the
        former is the mean over the epoch, as the weights change), `learning_rate` (at its end),
        `step_ms` (median of the steps), `seconds` (with the test).

    Raises:
        TrainingError: the loss or a weight is no finite number any more.
        InputError: the checkpoint is damaged, of another model, or of more epochs.
        Stopped: Ctrl-C.
    """
    context = _with_keywords(context, keywords) if keywords else context
    keras.utils.set_random_seed(context.seed)
    if training.epochs == 0:
        return []
    student = _copy_of_the_same_layers(model)
    # Weights and random generators (dropout's), and not the metrics, which start anew each epoch.
    state = list(student.variables)
    _seed_generators(state, context.seed)
    kept = kept_outputs(context.teacher, data, training, context.augmentation or data.augmentation)
    trainee = _with_teacher(student, model, training, context.teacher, kept is not None)
    optimizer = make_optimizer(training, steps_per_epoch(data, training))
    _compile(trainee, optimizer, from_logits=not ends_in_softmax(model))
    tester = runner(model)
    return epochs(
        Trainee(
            fit=lambda batches, epoch, watch: fit_epoch(
                trainee,
                batches,
                epoch,
                [watch.callback(keras.callbacks.Callback), *_tensorboard(context.tensorboard)],
            ),
            state=[*state, *optimizer.variables],
            weights=trainee.weights,
            accuracy=lambda: accuracy(tester, data),
            learning_rate=lambda: float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
            teacher_outputs=kept,
        ),
        data,
        training,
        context,
    )


def _compile(trainee: keras.Model, optimizer: Any, *, from_logits: bool) -> None:
    """Compiles the network, and makes the optimizer's variables, which a checkpoint holds."""
    optimizer.build(trainee.trainable_variables)
    trainee.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
        metrics=["accuracy"],
        jit_compile=jit_compile(),
    )


def _with_keywords(context: TrainingContext, keywords: dict[str, Any]) -> TrainingContext:
    """Returns the context with the fields that older callers give as keywords of `fit`."""
    names = ", ".join(f"{name}=..." for name in keywords)
    context = dataclasses.replace(context, **keywords)
    warnings.warn(
        f"training.fit takes TrainingContext({names}) as its fourth argument now; the keywords go "
        "with the next version",
        DeprecationWarning,
        stacklevel=3,
    )
    return context


def _copy_of_the_same_layers(model: keras.Model) -> keras.Model:
    """Returns the model's layers in a model of our own: the user's stays as it was compiled."""
    flat = functional(model)
    return keras.Model(flat.inputs, flat.outputs, name=model.name)


def _with_teacher(
    student: keras.Model,
    model: keras.Model,
    training: Training,
    teacher: keras.Model | None,
    outputs_given: bool,
) -> keras.Model:
    """Returns what is trained: the student, inside a distiller if the recipe has a teacher."""
    if teacher is None or training.distillation_weight == 0:
        return student
    return Distiller(
        model,
        teacher,
        weight=training.distillation_weight,
        temperature=training.distillation_temperature,
        outputs_given=outputs_given,
    )


def fit_epoch(trainee: Any, batches: Any, epoch: int, callbacks: Sequence[Any]) -> dict[str, float]:
    """Trains one epoch and returns its loss and accuracy.

    Args:
        trainee: compiled, of Keras 3 or tf_keras, with the metric `accuracy`.
        batches: the epoch's, as the model's `fit` takes them.
        epoch: counted from 0.
        callbacks: of the same Keras as the model.
    """
    history = trainee.fit(
        batches,
        epochs=epoch + 1,
        initial_epoch=epoch,
        verbose=0,
        shuffle=False,
        callbacks=list(callbacks),
    ).history
    return {key: float(history[key][-1]) for key in ("loss", "accuracy")}


def _seed_generators(state: list[Any], seed: int) -> None:
    """Starts dropout's and other layers' random generators from the seed, each differently."""
    generators = [variable for variable in state if variable.name == "seed_generator_state"]
    for number, generator in enumerate(generators):
        (start,) = np.random.SeedSequence((seed, number)).generate_state(1) >> 1  # Fits in int32.
        generator.assign([int(start), 0])


def make_optimizer(
    training: Training, steps_per_epoch: int, optimizers: Any = keras.optimizers
) -> Any:
    """Makes the optimizer with its schedule; weight decay is decoupled from the gradient.

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
