"""Makes the optimizer of a recipe, and copies that of a compiled model."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfcompress.config import Training
from tfcompress.training.context import TrainingContext


def make_optimizer(
    training: Training, steps_per_epoch: int, optimizers: Any = keras.optimizers
) -> Any:
    """Makes the optimizer with its schedule; weight decay is decoupled from the gradient.

    Args:
        training: rates and schedule.
        steps_per_epoch: batches.
        optimizers: `keras.optimizers`, or the module of another Keras with the same names.
    """
    rate = learning_rate(training, steps_per_epoch, optimizers)
    decay = training.weight_decay or None
    if training.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=training.momentum, weight_decay=decay)
    return optimizers.Adam(rate, weight_decay=decay)


def learning_rate(
    training: Training, steps_per_epoch: int, optimizers: Any = keras.optimizers
) -> Any:
    """Returns the rate, or the schedule of rates, that an optimizer takes.

    Args:
        training: rate, schedule and epochs.
        steps_per_epoch: batches.
        optimizers: as of `make_optimizer`.
    """
    steps = max(1, steps_per_epoch * training.epochs)
    rate = training.learning_rate
    if training.learning_rate_schedule == "cosine":
        return optimizers.schedules.CosineDecay(rate, steps)
    if training.learning_rate_schedule == "step":
        return optimizers.schedules.PiecewiseConstantDecay([steps // 2], [rate, rate / 10])
    return rate


def copy_optimizer(optimizer: Any, learning_rate: float | None = None) -> Any:
    """Returns an optimizer of the same settings that has taken no step.

    Args:
        optimizer: of Keras 3, the user's own.
        learning_rate: in place of its rate or schedule; None for that.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # Of mixed_float16, made anew.
    settings = inner.get_config()
    if learning_rate is not None:
        settings["learning_rate"] = learning_rate
    return type(inner).from_config(settings)


def at_lower_rate(context: TrainingContext, share: float) -> TrainingContext:
    """Returns a context whose user's optimizer, if there is one, has a share of its first rate.

    Args:
        context: of a stage that a technique trains at the lower rate.
        share: of the rate.
    """
    goal = context.objective
    if goal is None or goal.optimizer is None:
        return context
    rate = float(keras.ops.convert_to_numpy(copy_optimizer(goal.optimizer).learning_rate))
    slower = copy_optimizer(goal.optimizer, rate * share)
    return dataclasses.replace(context, objective=dataclasses.replace(goal, optimizer=slower))
