"""Says who trains what acts in training: TFMOT in Keras 2, or Keras 3 itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tfcompress.errors import require

if TYPE_CHECKING:
    from tfcompress.training.context import TrainingContext

Engine = Literal["auto", "tfmot", "keras"]


def chosen(engine: Engine, context: TrainingContext) -> Engine:
    """Returns who trains: TFMOT where Keras 2 can do what is wanted, unless told otherwise."""
    import keras

    if engine != "auto":
        return engine
    goal = context.objective
    plain = goal is None or (goal.one_label and not goal.users)
    plain = plain and not context.callbacks and not context.class_weight
    return "tfmot" if plain and keras.backend.backend() == "tensorflow" else "keras"


def check_prepares(engine: Engine) -> None:
    """Refuses TFMOT for a training of the user's own.

    Raises:
        InputError: it is asked for.
    """
    require(
        engine != "tfmot",
        "engine=tfmot trains in Keras 2, which only tfcompress.compress does: leave engine out",
    )
