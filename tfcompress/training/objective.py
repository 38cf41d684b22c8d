"""What a training minimises and is judged by: the user's own, or what follows from the targets."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import tree

from tfcompress.data.protocol import Data
from tfcompress.errors import InputError, require
from tfcompress.graph.nodes import functional, output_keys, output_structure
from tfcompress.training.outputs import endings

# Examples by which targets are told apart.
_LOOKED_AT = 256


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """Says which loss a training minimises and which metrics tell how well it went.

    Attributes:
        loss: as `compile` takes it, one for each output or the user's own.
        metrics: likewise.
        loss_weights: likewise; None if all count alike.
        weighted_metrics: likewise; None for none.
        classes: for each output, whether its values are scores of classes, so that a teacher's
            softmax means something.
        one_label: whether all that is learned is one class an example.
        optimizer: the user's own, whose settings are taken; None for the recipe's.
        run_eagerly: whether the user wants steps that aren't compiled.
        users: whether the user compiled the model with it.
    """

    loss: Any
    metrics: Any = None
    loss_weights: Any = None
    weighted_metrics: Any = None
    classes: tuple[bool, ...] = ()
    one_label: bool = False
    optimizer: Any = None
    run_eagerly: bool = False
    users: bool = False

    def compile_arguments(self) -> dict[str, Any]:
        """Returns arguments of `compile` with metrics that share no state with the user's."""
        return {
            "loss": self.loss,
            "loss_weights": self.loss_weights,
            "metrics": tree.map_structure(_fresh, self.metrics),
            "weighted_metrics": tree.map_structure(_fresh, self.weighted_metrics),
            "run_eagerly": self.run_eagerly,
        }

    def values(self, logs: Mapping[str, float], split: str) -> dict[str, float]:
        """Returns a history row's values for Keras's logs.

        Args:
            logs: of an epoch, the loss left out for training.
            split: `train` or `test`, the first word of the names.
        """
        if self.one_label and not self.users:
            return {f"{split}_error": 1 - float(logs["accuracy"])}
        left_out = ("loss",) if split == "train" else ()
        return {f"{split}_{name}": float(v) for name, v in logs.items() if name not in left_out}


def objective(model: keras.Model, data: Data) -> Objective:
    """Returns the loss and metrics that a model was compiled with, or those that fit its targets.

    Of a model that isn't compiled, or compiled without a loss, each output's follow from its
    targets: numbers of classes, one-hot vectors, yes or no behind a sigmoid, or else any values,
    by their squared error.

    Args:
        model: functional or Sequential.
        data: whose first targets are looked at.

    Raises:
        InputError: there are no targets, or they don't fit the outputs.
    """
    own = compiled_objective(model)
    return own if own is not None else inferred_objective(model, data)


def compiled_objective(model: keras.Model) -> Objective | None:
    """Returns what the user compiled a model with; None if it isn't compiled or has no loss."""
    # Keras keeps the arguments as they were given for `model.get_compile_config`.
    settings = getattr(getattr(model, "_compile_config", None), "config", None)
    if not getattr(model, "compiled", False) or not settings or settings.get("loss") is None:
        return None
    flat = functional(model)
    settings = {key: _of_one_output(value, flat) for key, value in settings.items()}
    losses = _by_output(settings["loss"], flat)
    classes = tuple(
        ending == "softmax" or _names_classes(loss)
        for ending, loss in zip(endings(model), losses, strict=True)
    )
    return Objective(
        loss=settings["loss"],
        metrics=settings.get("metrics"),
        loss_weights=settings.get("loss_weights"),
        weighted_metrics=settings.get("weighted_metrics"),
        classes=classes,
        one_label=len(losses) == 1
        and _names_classes(losses[0])
        and len(flat.outputs[0].shape) == 2,
        optimizer=model.optimizer,
        run_eagerly=bool(settings.get("run_eagerly")),
        users=True,
    )


def _of_one_output(value: Any, model: keras.Model) -> Any:
    """Returns a setting by the name of the one output without that name, which may change."""
    if isinstance(output_structure(model), Mapping) or not isinstance(value, Mapping):
        return value
    names = output_keys(model)
    return value[names[0]] if len(names) == 1 and set(value) == set(names) else value


def _by_output(losses: Any, model: keras.Model) -> list[Any]:
    """Returns the loss of each output, None where it isn't known."""
    count = len(model.outputs)
    if isinstance(losses, Mapping):
        return [losses.get(name) for name in output_keys(model)]
    given = list(losses) if isinstance(losses, list | tuple) else [losses] * count
    return given if len(given) == count else [None] * count


def _names_classes(loss: Any) -> bool:
    """Says whether a loss is a cross-entropy over classes, whatever its form."""
    return "categorical" in _plain_name(loss) and "entropy" in _plain_name(loss)


def _plain_name(loss: Any) -> str:
    """Returns the letters of a loss's name."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", None)
    name = name or getattr(loss, "__name__", type(loss).__name__)
    return str(name).replace("_", "").lower()


def inferred_objective(model: keras.Model, data: Data) -> Objective:
    """Returns the loss and metrics that fit a model's outputs and the data's targets.

    Raises:
        InputError: as `objective`.
    """
    found, names, by_name = fitting_outputs(model, data)
    losses, metrics, classes = zip(*found, strict=True)
    alone = len(found) == 1
    all_losses: Any = list(losses)
    all_metrics: Any = [[metric] for metric in metrics]
    if by_name:
        all_losses = dict(zip(names, all_losses, strict=True))
        all_metrics = dict(zip(names, all_metrics, strict=True))
    return Objective(
        loss=losses[0] if alone else all_losses,
        metrics=[metrics[0]] if alone else all_metrics,
        classes=tuple(classes),
        one_label=alone and classes[0] and len(functional(model).outputs[0].shape) == 2,
    )


class Fitting(NamedTuple):
    """What fits one output and its targets.

    Attributes:
        loss: as `compile` takes it.
        metric: likewise.
        classes: whether the output's values are scores of classes.
    """

    loss: Any
    metric: str
    classes: bool


def fitting_outputs(model: keras.Model, data: Data) -> tuple[list[Fitting], list[str], bool]:
    """Returns what fits each output and its targets.

    Returns:
        For each output its loss and metric; the outputs' names; and whether the targets come by
        these names.

    Raises:
        InputError: as `objective`.
    """
    batch = data.sample(_LOOKED_AT)
    flat = functional(model)
    require(
        batch.y is not None,
        f"there are no targets to train '{model.name}' on: give (x, y), or a technique that acts "
        "as the file is written, such as int8",
    )
    names = output_keys(model)
    targets, by_name = in_order_of(names, batch.y)
    require(
        len(targets) == len(names),
        f"the model '{model.name}' has {len(names)} outputs ({', '.join(names)}), and the data "
        f"have targets for {len(targets)}",
    )
    found = [
        _fitting(name, output, target, ending)
        for name, output, target, ending in zip(
            names, flat.outputs, targets, endings(model), strict=True
        )
    ]
    return found, names, by_name


def in_order_of(names: list[str], targets: Any) -> tuple[list[Any], bool]:
    """Returns targets in the outputs' order, and whether they come by the outputs' names.

    Args:
        names: of the outputs.
        targets: of any structure.
    """
    if isinstance(targets, dict) and set(targets) == set(names):
        return [targets[name] for name in names], True
    return tree.flatten(targets), False


def _fitting(name: str, output: Any, target: np.ndarray, ending: str) -> Fitting:
    """Returns an output's loss, metric, and whether its values are scores of classes."""
    shape, given = tuple(output.shape[1:]), tuple(target.shape[1:])
    whole = target.dtype.kind in "biu" or bool(np.all(target == np.rint(target)))
    losses = keras.losses
    if shape and (shape[-1] or 2) > 1 and whole and _fits(given, shape[:-1]):
        _check_labels(name, target, shape[-1])
        loss = losses.SparseCategoricalCrossentropy(from_logits=ending != "softmax")
        return Fitting(loss, "accuracy", True)
    if not _fits(given, shape):
        raise InputError(
            f"the model's output '{name}' has the shape {shape} and its targets {given}: they must "
            f"be equal, or, where they are classes, {shape[:-1]} whole numbers"
        )
    zeros_and_ones = whole and target.size > 0 and target.min() >= 0 and target.max() <= 1
    one_hot = zeros_and_ones and (shape[-1] or 1) > 1 and bool(np.all(target.sum(-1) == 1))
    if one_hot and ending != "sigmoid":
        loss = losses.CategoricalCrossentropy(from_logits=ending != "softmax")
        return Fitting(loss, "accuracy", True)
    if zeros_and_ones and ending == "sigmoid":
        return Fitting(losses.BinaryCrossentropy(), "accuracy", False)
    return Fitting(losses.MeanSquaredError(), "mae", False)


def _fits(given: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    """Says whether targets have a shape, a last axis of 1 more or less."""
    forms = {given, given[:-1] if given and given[-1] == 1 else given, (*given, 1)}
    return any(
        len(form) == len(shape)
        and all(b is None or a == b for a, b in zip(form, shape, strict=True))
        for form in forms
    )


def _check_labels(name: str, labels: np.ndarray, classes: int | None) -> None:
    """Refuses numbers of classes that an output doesn't have."""
    low, high = int(labels.min()), int(labels.max())
    if classes is None or (low >= 0 and high < classes):
        return
    hint = ": subtract 1 from them" if (low, high) == (1, classes) else ""
    raise InputError(
        f"the labels are {low}..{high}, and the model's output '{name}' has {classes} classes, "
        f"0..{classes - 1}{hint}"
    )


def class_numbers(targets: Any) -> np.ndarray:
    """Returns the classes of an objective with one label: integers (n,).

    Args:
        targets: numbers of classes, (n,) or (n, 1), or one-hot vectors (n, classes).
    """
    labels = np.asarray(targets)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.argmax(1)
    return labels.reshape(-1)


def _fresh(metric: Any) -> Any:
    """Returns a metric of the same settings with a state of its own, where it can be copied."""
    if isinstance(metric, keras.metrics.Metric):
        # A class of the user's may not know how to: its state starts anew each epoch anyway.
        with contextlib.suppress(Exception):
            return type(metric).from_config(metric.get_config())
    return metric
