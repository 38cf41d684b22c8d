"""Makes the distiller that a recipe's `Distillation` describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcompress.config import Distillation
from tfcompress.errors import InputError, require
from tfcompress.training.distill.distiller import Distiller
from tfcompress.training.distill.features import AttentionTransfer, Hint, matching_layers
from tfcompress.training.distill.losses import DKD, KD, Labels, Logits, Softmax


def distiller(
    student: keras.Model,
    teacher: keras.Model,
    distillation: Distillation,
    *,
    classes: tuple[bool, ...],
    labelled: bool = True,
    outputs_given: bool = False,
    seed: int = 0,
) -> Distiller:
    """Returns what trains the student as a recipe says.

    Args:
        student: is trained; functional.
        teacher: likewise functional; stays as it is.
        distillation: the recipe's.
        classes: for each output, whether its values are scores of classes.
        labelled: whether labels are read; without them the teacher says all.
        outputs_given: as in `Distiller`.
        seed: of the teacher's noise.

    Raises:
        InputError: the losses don't fit the models.
    """
    losses, weights = _losses(student, teacher, distillation, classes)
    try:
        return Distiller(
            teacher,
            student,
            losses,
            weights,
            1 - distillation.weight if labelled else 0.0,
            student.name,
            outputs_given=outputs_given,
            noise=distillation.noise,
            noise_share=distillation.noise_share,
            seed=seed,
            track_parts=False,  # The logs are those of the student, which callbacks know.
        )
    except InputError:
        raise
    except ValueError as error:  # Keras's own comparison of the models.
        raise InputError(
            f"teacher '{teacher.name}' can't teach '{student.name}': {error}"
        ) from error


def _losses(
    student: keras.Model,
    teacher: keras.Model,
    distillation: Distillation,
    classes: tuple[bool, ...],
) -> tuple[list[Any], list[float]]:
    """Returns the losses that a recipe names, and their factors."""
    outputs: dict[str, Callable[[], Any]] = {
        "kd": lambda: KD(distillation.temperature, classes=classes),
        "labels": lambda: Labels(classes=classes),
        "softmax": lambda: Softmax(classes=classes),
        "logits": lambda: Logits(classes=classes),
        "dkd": lambda: DKD(
            distillation.alpha, distillation.beta, distillation.temperature, classes=classes
        ),
    }
    losses: list[Any] = []
    weights: list[float] = []
    for name in distillation.names:
        if name == "at":
            pairs = matching_layers(teacher, student)
            require(
                bool(pairs),
                f"at compares maps of equal height and width, and '{student.name}' and its teacher "
                f"'{teacher.name}' have none: leave at out of distillation.losses",
            )
            losses += [AttentionTransfer(*pair) for pair in pairs]
            weights += [distillation.attention_weight] * len(pairs)
        elif name == "hint":
            losses.append(Hint())
            weights.append(distillation.hint_weight)
        else:
            losses.append(outputs[name]())
            weights.append(1.0)
    return losses, weights
