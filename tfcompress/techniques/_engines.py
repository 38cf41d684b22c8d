"""Says who trains what acts in training: TFMOT in Keras 2, or Keras 3 itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from tfcompress.errors import require
from tfcompress.techniques.base import Candidate

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import TrainingContext

Engine = Literal["auto", "tfmot", "keras"]
Trained = TypeVar("Trained")


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


def train(
    candidate: Candidate,
    engine: Engine,
    data: Data,
    context: TrainingContext,
    *,
    by_tfmot: Callable[[], Trained],
    in_keras: Callable[[], Trained],
    suits_tfmot: bool,
) -> Trained:
    """Trains by TFMOT where Keras 2 can do what is wanted, unless told otherwise, else in Keras 3.

    Args:
        candidate: is told why Keras 3 trains, where the bridge can't convert the model.
        engine: of the options.
        data: of the training.
        context: what is wanted.
        by_tfmot: trains by TFMOT.
        in_keras: trains in Keras 3.
        suits_tfmot: whether all of the model's layers are such as TFMOT can train.
    """
    from tfcompress.bridge.errors import BridgeError
    from tfcompress.data.pipelines import Stream

    if engine == "auto" and (
        not suits_tfmot or len(candidate.model.inputs) > 1 or isinstance(data, Stream)
    ):
        return in_keras()
    if chosen(engine, context) == "keras":
        return in_keras()
    try:
        return by_tfmot()
    except BridgeError as error:
        if engine == "tfmot":
            raise
        candidate.say("engine", f"keras, since Keras 2 can't have this model: {error}")
        return in_keras()
