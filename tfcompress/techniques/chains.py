"""Techniques one after another: `cp+prune` is cp, trained, and then prune on what it left."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.config import Training
from tfcompress.errors import InputError
from tfcompress.techniques.base import Candidate, Technique, get

if TYPE_CHECKING:
    from tfcompress.data.dataset import Dataset
    from tfcompress.training.context import Row, TrainingContext

_DOING_AGAIN = {
    "binary": "it would turn the binary weights into floats",
    "buckets": "it would expand the shared weights",
    "sparsity": "it would fill the zeros again",
    "clusters": "it would spread the shared values again",
    "quantised": "it would train past the quantised weights",
}


RoundContext = Callable[["TrainingContext", str, Candidate, Training], "TrainingContext"]


@dataclasses.dataclass(frozen=True)
class Step:
    """One technique of a chain with its settings.

    Attributes:
        technique: which one.
        options: its own.
        training: how its result is trained.
    """

    technique: Technique
    options: Any
    training: Training


def chain(name: str) -> tuple[Technique, ...]:
    """The techniques of `a+b+c`, in order; a single name is a chain of one.

    Raises:
        InputError: an unknown name, one that comes twice, the control among others, or a
            technique that would undo what an earlier one did.
    """
    names = [part.strip() for part in name.split("+")]
    found = tuple(get(part) for part in names)
    for position, part in enumerate(names):
        if part in names[:position]:
            raise InputError(f"chain '{name}' has {part} twice: once is enough")
    if len(found) > 1 and "baseline" in names:
        raise InputError(f"baseline is the control and no part of a chain; got '{name}'")
    undone = _undone(found)
    if undone is None:
        return found
    first, later, what = undone
    swapped = list(found)
    i, j = swapped.index(first), swapped.index(later)
    swapped[i], swapped[j] = later, first
    works = "+".join(t.name for t in swapped)
    hint = (
        f"'{works}' works"
        if _undone(swapped) is None
        else (f"use one of the two ({first.name} alone is written as {first.storage})")
    )
    raise InputError(
        f"chain '{name}': {later.name} can't follow {first.name}: {_DOING_AGAIN[what]}; {hint}"
    )


def _undone(found: Sequence[Technique]) -> tuple[Technique, Technique, str] | None:
    """The first two techniques of which the later undoes the earlier one's work, and what."""
    for position, later in enumerate(found):
        for first in found[:position]:
            for what in sorted(first.produces - later.preserves):
                return first, later, what
    return None


def distribute(
    found: Iterable[Technique], values: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Options to the techniques that have them.

    `rank=8` goes to every technique of the chain with an option `rank`, `cp.rank=8` to cp alone.

    Returns:
        Technique name to its options' values, and the keys that some technique took.
    """
    given: dict[str, dict[str, Any]] = {}
    taken = set()
    for technique in found:
        known = {field.name for field in dataclasses.fields(technique.options)}
        mine = {key: key.removeprefix(f"{technique.name}.") for key in values}
        taken |= {key for key, own in mine.items() if own in known}
        # In this order: the one that names its technique wins.
        chosen = sorted((key for key, own in mine.items() if own in known), key=lambda k: "." in k)
        given[technique.name] = {mine[key]: values[key] for key in chosen}
    return given, taken


def same_context(
    context: TrainingContext, title: str, candidate: Candidate, training: Training
) -> TrainingContext:
    """Trains every round in the chain's own context."""
    return context


def apply(
    candidate: Candidate,
    steps: Sequence[Step],
    data: Dataset,
    context: TrainingContext,
    *,
    round_context: RoundContext = same_context,
) -> tuple[Candidate, list[Row]]:
    """Transforms and trains, step by step.

    Every round starts from the seed alone, so that a run that is begun again passes through its
    checkpoints to where it was.

    Args:
        candidate: with the trained model.
        steps: at least one.
        data: the data set.
        context: the seed of every transform and training, and the original model as the teacher
            of recipes that distil.
        round_context: from that context, a round's title, its transformed candidate and its
            training to the round's context, with its own checkpoint and progress.

    Returns:
        The candidate, and the rounds' histories as one, its epochs counted through.
    """
    import keras

    rows: list[Row] = []
    for step in steps:
        rounds = step.technique.rounds(candidate, step.options, step.training)
        for number, (options, training) in enumerate(rounds, 1):
            title = step.technique.name
            if len(rounds) > 1:
                title += f" {number}/{len(rounds)}"
            keras.utils.set_random_seed(context.seed)
            candidate = step.technique.transform(candidate, options)
            its_context = round_context(context, title, candidate, training)
            candidate, history = step.technique.fit(candidate, options, data, training, its_context)
            rows += [{**row, "epoch": len(rows) + i} for i, row in enumerate(history, 1)]
    return candidate, rows
