"""Trains a model, epoch by epoch, so that it can be stopped anywhere and gone on with."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.config import Training
from tfcompress.data.protocol import Data
from tfcompress.errors import require
from tfcompress.graph.nodes import input_structure, operations, output_structure
from tfcompress.training.callbacks import EpochCallbacks
from tfcompress.training.constraints import callbacks, constraints
from tfcompress.training.context import DEFAULT_CONTEXT, Row, TrainingContext
from tfcompress.training.devices import Devices, chosen, on_one
from tfcompress.training.distill.distiller import Distiller, Stage
from tfcompress.training.distill.make import distiller
from tfcompress.training.evaluate import accuracy, jit_compile, runner
from tfcompress.training.loop import Trainee, Watch, epochs, steps_per_epoch
from tfcompress.training.objective import Objective, compiled_objective, inferred_objective
from tfcompress.training.optimizers import copy_optimizer, make_optimizer
from tfcompress.training.teacher import kept_outputs
from tfcompress.training.unit_strides import unit_strides

# Held-out examples at a time.
_JUDGED = 256


def fit(
    model: keras.Model,
    data: Data,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
    **keywords: Any,
) -> list[Row]:
    """Trains the model in place; its weights at the end are the last epoch's.

    The batches come from the data's training examples, or from `context.transfer`, whose targets
    and weights are never read; the data's own then say only what the outputs mean.

    The held-out examples only measure: no epoch is chosen by them. With the same seed, data and
    machine two trainings end in equal weights, however often they were stopped on the way. Only
    the weights and the random layers' state change: how the model was compiled stays.

    Args:
        model: functional or Sequential.
        data: the training and held-out examples.
        training: epochs, optimizer and rates.
        context: seed, teacher, augmentation, checkpoint, callbacks, and the loss and metrics if
            they aren't those that follow from the model's outputs and the data's targets.
        keywords: deprecated: the fields of the context, each by itself.

    Returns:
        One row an epoch: `epoch` (from 1), `loss`, `train_error` and `test_error` (0 to 1; the
        former is the mean over the epoch, as the weights change; it is missing where the training
        examples' labels aren't read), `learning_rate` (at its end), `step_ms` (median of the
        steps), `seconds` (with the test). Where one class an example
        isn't all that is learned, `train_` and `test_` with the metrics' names stand in place of
        the errors, and `test_loss`; nothing held out, those of the test are missing.

    Raises:
        TrainingError: the loss or a weight is no finite number any more.
        InputError: the checkpoint is damaged, of another model, or of more epochs; the targets
            don't fit the model's outputs; a transfer set is given without a teacher; or there
            aren't the devices, or batches can't be split over them.
        Stopped: Ctrl-C.
    """
    context = _with_keywords(context, keywords) if keywords else context
    keras.utils.set_random_seed(context.seed)
    if training.epochs == 0:
        return []
    devices = chosen(context.devices)
    devices.check(training, data if context.transfer is None else context.transfer)
    states = [variable for each in constraints(model) for variable in each.variables]
    with devices.holding([*model.variables, *states]):
        return _fit(model, data, training, context, devices)


def _fit(
    model: keras.Model, data: Data, training: Training, context: TrainingContext, devices: Devices
) -> list[Row]:
    """Trains a model whose variables are on all devices; the rest is as of `fit`."""
    source = data if context.transfer is None else context.transfer
    distillation, labelled = training.distillation, _reads_labels(training, context)
    given = context.objective
    # What isn't the user's follows from this very model: its end may have changed.
    goal = given if given is not None and given.users else inferred_objective(model, data)
    augmentation = context.augmentation or source.augmentation
    kept = kept_outputs(context.teacher, source, training, augmentation)
    steps = steps_per_epoch(source, training)
    with devices.making():
        student = _copy_of_the_same_layers(model)
        trainee = _with_teacher(student, training, context, goal, labelled, kept is not None)
        optimizer = _optimizer(trainee, training, context, goal, steps)
        _compile(trainee, optimizer, goal if labelled else _without_labels(goal))
        if labelled:
            _make_metrics(trainee, student, goal, data)
    # Weights and random generators (dropout's), and not the metrics, which start anew each epoch.
    state = list(student.variables)
    if isinstance(trainee, Distiller):
        state += trainee.own_variables
    _seed_generators(state, context.seed)
    judge = _judge(model, data, goal)
    every = (*callbacks(model), *context.callbacks)
    own = EpochCallbacks(every, judge, trainee, training.epochs, steps)
    with unit_strides(operations(model)), own.around_all_epochs():
        return epochs(
            Trainee(
                fit=_epoch_trainer(trainee, goal, own, training, context, devices, labelled),
                state=[*state, *optimizer.variables],
                weights=trainee.weights,
                learning_rate=lambda: float(keras.ops.convert_to_numpy(optimizer.learning_rate)),
                teacher_outputs=kept,
                labelled=labelled,
                mix=0.0 if labelled or distillation is None else distillation.mix,
                stopped=lambda: bool(trainee.stop_training),
                devices=devices,
            ),
            data,
            training,
            context,
        )


def _reads_labels(training: Training, context: TrainingContext) -> bool:
    """Says whether a training reads labels, and doesn't learn from a teacher alone.

    Raises:
        InputError: no labels are to be read, and nobody teaches; or class weights would read them.
    """
    distillation = training.distillation
    distils = context.teacher is not None and distillation is not None and distillation.weight > 0
    if context.transfer is not None:
        require(
            distils,
            "a transfer set has no labels, and all that is learned on it comes from a teacher: "
            "give one, and a training with a distillation whose weight isn't 0",
        )
    elif not (distils and distillation is not None and distillation.mix):
        return True
    require(
        not context.class_weight,
        "class_weight takes labels, and those of a transfer set or of mixed examples aren't read: "
        "leave it out",
    )
    return False


def _without_labels(goal: Objective) -> Objective:
    """Returns what a training without labels is compiled with: nothing that would read them."""
    return dataclasses.replace(goal, loss=None, metrics=None, loss_weights=None,
                               weighted_metrics=None)  # fmt: skip


def _epoch_trainer(
    trainee: keras.Model,
    goal: Objective,
    own: EpochCallbacks,
    training: Training,
    context: TrainingContext,
    devices: Devices,
    labelled: bool,
) -> Callable[[Any, int, Watch], Row]:
    """Returns what trains one epoch and gives the row's values, as `Trainee.fit` does."""
    weights = {"class_weight": dict(context.class_weight)} if context.class_weight else {}

    def train_epoch(batches: Any, epoch: int, watch: Watch) -> Row:
        watching = watch.callback(keras.callbacks.Callback)
        callbacks = [watching, own, *_tensorboard(context.tensorboard)]
        if isinstance(trainee, Distiller):
            trainee.enter_stage(_stage(training, epoch))
        with devices.fitting():
            logs = fit_epoch(trainee, batches, epoch, callbacks, **weights)
        seen = goal.values(logs, "train") if labelled else {}
        return {"loss": logs["loss"], **seen, **own.test_values}

    return train_epoch


def _stage(training: Training, epoch: int) -> Stage:
    """Returns what an epoch, counted from 0, trains by."""
    first = training.distillation.hint_epochs if training.distillation else 0
    if not first:
        return "all"
    return "hints" if epoch < first else "others"


def _judge(model: keras.Model, data: Data, goal: Objective) -> Callable[[], dict[str, Row]]:
    """Returns what judges the model by the held-out examples.

    It gives Keras's logs under `logs` and a history row's values under `row`.
    """
    if data.test is None:
        return lambda: {"logs": {}, "row": {}}
    tester = runner(model)
    if goal.one_label and not goal.users:

        def by_label() -> dict[str, Row]:
            with on_one():
                share = accuracy(tester, data)
            row = goal.values({"accuracy": share}, "test")
            return {"logs": {"val_accuracy": share}, "row": row}

        return by_label
    tester.compile(**goal.compile_arguments(), jit_compile=jit_compile())
    _make_metrics(tester, tester, goal, data)

    def by_metrics() -> dict[str, Row]:
        batches = (batch.as_fit() for batch in data.test_batches(_JUDGED))
        steps = data.test_steps(_JUDGED)
        with on_one():
            logs = tester.evaluate(batches, steps=steps, return_dict=True, verbose=0)
        named = {f"val_{name}": float(value) for name, value in logs.items()}
        return {"logs": named, "row": goal.values(logs, "test")}

    return by_metrics


def _optimizer(
    trainee: keras.Model,
    training: Training,
    context: TrainingContext,
    goal: Objective,
    steps: int,
) -> Any:
    """Returns the technique's or the recipe's optimizer, or one with the user's settings.

    Args:
        trainee: the network with what else is trained.
        training: the recipe.
        context: with the technique's, if it has one.
        goal: with the user's, if there is one.
        steps: of an epoch.
    """
    if context.optimizer is None and goal.optimizer is not None:
        return copy_optimizer(goal.optimizer)
    optimizer = (context.optimizer or make_optimizer)(training, steps)
    optimizer.exclude_from_weight_decay(var_list=_learned_scales(trainee))
    return optimizer


def _compile(trainee: keras.Model, optimizer: Any, goal: Objective) -> None:
    """Compiles the network, and makes the optimizer's variables, which a checkpoint holds."""
    optimizer.build(trainee.trainable_variables)
    compiled = False if goal.run_eagerly else jit_compile()
    trainee.compile(optimizer=optimizer, jit_compile=compiled, **goal.compile_arguments())


def _make_metrics(compiled: keras.Model, student: keras.Model, goal: Objective, data: Data) -> None:
    """Makes the metrics' variables, which Keras makes in the first step.

    TensorFlow traces a step that makes variables twice, and most of a short training is tracing.
    """
    outputs = output_structure(student)
    names = all(isinstance(metric, str) for metric in tree.flatten(goal.metrics))
    if not names or goal.weighted_metrics or any(None in y.shape[1:] for y in student.outputs):
        return
    x, y, weights = data.sample(1)
    zeros = tree.map_structure(lambda y: keras.ops.zeros((1, *y.shape[1:]), y.dtype), outputs)
    if len(student.outputs) > 1 and not goal.users:
        keras.Model.compute_loss(compiled, x, y, zeros, weights)
    compiled.compute_metrics(x, y, zeros, weights)
    compiled.reset_metrics()


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
    return keras.Model(input_structure(model), output_structure(model), name=model.name)


def _with_teacher(
    student: keras.Model,
    training: Training,
    context: TrainingContext,
    goal: Objective,
    labelled: bool,
    outputs_given: bool,
) -> keras.Model:
    """Returns what is trained: the student, inside a distiller if the recipe has a teacher."""
    distillation, teacher = training.distillation, context.teacher
    if teacher is None or distillation is None or distillation.weight == 0:
        return student
    return distiller(
        student,
        teacher,
        distillation,
        classes=goal.classes,
        labelled=labelled,
        outputs_given=outputs_given,
        seed=context.seed,
    )


def fit_epoch(
    trainee: Any, batches: Any, epoch: int, callbacks: Sequence[Any], **keywords: Any
) -> Row:
    """Trains one epoch and returns Keras's logs of it, such as loss and accuracy.

    Args:
        trainee: compiled, of Keras 3 or tf_keras.
        batches: the epoch's, as the model's `fit` takes them.
        epoch: counted from 0.
        callbacks: of the same Keras as the model.
        keywords: further arguments of `fit`.
    """
    history = trainee.fit(
        batches,
        epochs=epoch + 1,
        initial_epoch=epoch,
        verbose=0,
        shuffle=False,
        callbacks=list(callbacks),
        **keywords,
    ).history
    return {key: float(values[-1]) for key, values in history.items()}


def _seed_generators(state: list[Any], seed: int) -> None:
    """Starts dropout's and other layers' random generators from the seed, each differently."""
    generators = [variable for variable in state if variable.name == "seed_generator_state"]
    for number, generator in enumerate(generators):
        (start,) = np.random.SeedSequence((seed, number)).generate_state(1) >> 1  # Fits in int32.
        generator.assign([int(start), 0])


def _learned_scales(model: keras.Model) -> list[keras.Variable]:
    """Returns the trained steps, scales and bounds of layers of few bits, which don't decay."""
    layers = model._flatten_layers()
    return [scale for layer in layers for scale in getattr(layer, "learned_scales", ())]


def compiled_alike(model: keras.Model, other: keras.Model) -> keras.Model:
    """Returns a model compiled as another is, with an optimizer that has taken no step.

    Args:
        model: compiled here, unless the other one isn't, has no loss, or is the same.
        other: whose loss, metrics and optimizer settings are taken.
    """
    goal = compiled_objective(other)
    if goal is not None and model is not other:
        model.compile(optimizer=copy_optimizer(goal.optimizer), **goal.compile_arguments())
    return model


def _tensorboard(folder: Path | None) -> list[keras.callbacks.Callback]:
    if folder is None:
        return []
    return [keras.callbacks.TensorBoard(str(folder), profile_batch=0)]
