"""Says who trains what acts in training: TFMOT in Keras 2, or Keras 3 itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from tfcompress.errors import require
from tfcompress.techniques.base import Candidate

if TYPE_CHECKING:
    from tfcompress.config import Training
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import TrainingContext

Engine = Literal["auto", "tfmot", "keras"]
Converted = TypeVar("Converted")
Trained = TypeVar("Trained")


def why_keras(engine: Engine, training: Training, context: TrainingContext) -> str | None:
    """Returns why Keras 3 trains what is wanted; None if TFMOT does."""
    import keras

    from tfcompress.training.distill.plain import beyond_kd

    if engine != "auto":
        return "the option engine says so" if engine == "keras" else None
    goal = context.objective
    if goal is not None and goal.users:
        return "the model is trained as it was compiled"
    if goal is not None and not goal.one_label:
        return "TFMOT learns only one class an example"
    if context.callbacks or context.class_weight:
        return "Keras 2 doesn't know callbacks and class weights of Keras 3"
    if context.transfer is not None:
        return "TFMOT learns from labels, which the transfer set doesn't have"
    if context.devices != 1:
        return "TFMOT trains on one device"
    if (reason := beyond_kd(training, context)) is not None:
        return f"TFMOT learns from a teacher by the loss kd alone, and {reason}"
    if keras.backend.backend() != "tensorflow":
        return f"TFMOT doesn't run on {keras.backend.backend()}"
    return None


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
    training: Training,
    context: TrainingContext,
    *,
    convert: Callable[[], Converted],
    by_tfmot: Callable[[Converted], Trained],
    in_keras: Callable[[], Trained],
    suits_tfmot: bool,
) -> Trained:
    """Trains by TFMOT where Keras 2 can do what is wanted, unless told otherwise, else in Keras 3.

    Which one it is, is known and said before the training.

    Args:
        candidate: is told which engine trains.
        engine: of the options.
        data: of the training.
        training: the recipe.
        context: what is wanted.
        convert: brings the model to Keras 2, as TFMOT trains it.
        by_tfmot: trains what `convert` returns.
        in_keras: trains in Keras 3.
        suits_tfmot: whether all of the model's layers are such as TFMOT can train.

    Raises:
        BridgeError: TFMOT was asked for and the model can't be converted, or what TFMOT has
            trained can't be brought back.
    """
    from tfcompress.bridge.errors import BridgeError

    reason = why_keras(engine, training, context)
    if reason is None and engine == "auto":
        reason = _why_not_auto(candidate, data, suits_tfmot)
    if reason is None:
        try:
            converted = convert()
        except BridgeError as error:
            if engine == "tfmot":
                raise
            reason = f"Keras 2 can't have this model: {error}"
        else:
            candidate.say("engine", "tfmot trains a copy in Keras 2")
            # Not tried: what fails behind a training isn't answered by another one.
            return by_tfmot(converted)
    candidate.say("engine", f"keras, since {reason}")
    return in_keras()


def _why_not_auto(candidate: Candidate, data: Data, suits_tfmot: bool) -> str | None:
    """Returns why TFMOT isn't chosen for a model and its data; None if it may be."""
    from tfcompress.data.pipelines import Stream

    if not suits_tfmot:
        return "the model has layers that TFMOT can't train"
    if len(candidate.model.inputs) > 1:
        return "TFMOT trains here from one input"
    return "TFMOT trains here from data in memory" if isinstance(data, Stream) else None
