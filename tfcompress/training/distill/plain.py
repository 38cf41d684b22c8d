"""Tells the distillation that every trainer knows from what only Keras 3's distiller does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfcompress.config import Training
    from tfcompress.training.context import TrainingContext

# Losses that look inside of the teacher.
FEATURES = frozenset({"at", "hint"})


def beyond_kd(training: Training, context: TrainingContext) -> str | None:
    """Returns what a training asks of the teacher beside the loss `kd`; None if nothing.

    Args:
        training: the recipe.
        context: with the teacher, if there is one.
    """
    distillation = training.distillation
    if context.teacher is None or distillation is None or not distillation.weight:
        return None
    if distillation.names != ("kd",):
        return f"{distillation.losses} is asked for"
    if distillation.mix:
        return "examples are to be mixed"
    return "the teacher is to be noisy" if distillation.noise else None
