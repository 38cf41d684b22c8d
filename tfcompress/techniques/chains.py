"""Applies techniques one after another: `cp+prune` is cp, trained, and then prune on that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.config import Training
from tfcompress.errors import InputError, require
from tfcompress.techniques.base import Candidate, Property, Technique, get

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext

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
    """Returns the techniques of `a+b+c`, in order; a single name is a chain of one.

    Raises:
        InputError: no text, an unknown name, one that comes twice, the control among others, or
            a technique that would undo what an earlier one did.
    """
    if not isinstance(name, str):
        listed = isinstance(name, list | tuple) and all(isinstance(part, str) for part in name)
        example = "+".join(name) if listed and name else "cp+prune"
        raise InputError(
            f"technique takes a name, or several with + between them, as in '{example}'; "
            f"got {name!r}"
        )
    names = [part.strip() for part in name.split("+")]
    techniques = tuple(get(part) for part in names)
    for position, part in enumerate(names):
        if part in names[:position]:
            raise InputError(f"chain '{name}' has {part} twice: once is enough")
    if len(techniques) > 1 and "baseline" in names:
        raise InputError(f"baseline is the control and no part of a chain; got '{name}'")
    undone = _first_undone(techniques)
    if undone is None:
        return techniques
    first, later, lost = undone
    swapped = list(techniques)
    i, j = swapped.index(first), swapped.index(later)
    swapped[i], swapped[j] = later, first
    other_order = "+".join(technique.name for technique in swapped)
    reason, hint = _why_undone(first, later, lost)
    if _first_undone(swapped) is None:
        hint = f"'{other_order}' works"
    raise InputError(f"chain '{name}': {later.name} can't follow {first.name}: {reason}; {hint}")


def _why_undone(first: Technique, later: Technique, lost: Property) -> tuple[str, str]:
    """Says why a technique can't follow another, and what to do if no other order works."""
    one = "use one of the two"
    if later.acts_in == "export":
        if first.acts_in == "export":
            return "each says how the file's weights are written, and they are written once", one
        return (
            f"it only says how the file's weights are written, and {first.name} says that itself",
            f"{first.name} alone is written as {' and '.join(first.storages)}, and option storage "
            "of the command and of export writes it otherwise",
        )
    if first.acts_in == "export":
        return f"{first.name} rounds as the file is written, so it comes last", one
    return lost.undoing, one


def make_steps(
    techniques: Iterable[Technique], options: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[Step, ...]:
    """Makes a chain's steps: each technique with its own options and its training.

    Args:
        techniques: as `chain` gives them.
        options: values or texts, by name, as `distribute` takes them; those that no technique has
            are left out.
        settings: fields of `Training` that the user chose, in place of each recipe's.

    Raises:
        InputError: a value that an option or the training can't have.
    """
    techniques = tuple(techniques)
    given, _ = distribute(techniques, options)
    steps = []
    for technique in techniques:
        its_options = technique.make_options(**given[technique.name])
        training = technique.training(its_options).with_settings(settings)
        steps.append(Step(technique, its_options, training))
    return tuple(steps)


def check(candidate: Candidate, steps: Sequence[Step]) -> None:
    """Raises what a chain would raise while it is applied, before anything is trained.

    Args:
        candidate: with the network, trained or not.
        steps: at least one.

    Raises:
        InputError: a technique finds nothing to do in the network that those before it leave; or
            the first can't be applied at all.
    """
    failure = _first_failure(candidate, steps)
    if failure is None:
        return
    at, error = failure
    if at == 0:
        raise error
    first, failing, others = steps[:at], steps[at], [*steps[:at], *steps[at + 1 :]]
    swapped = [failing, *others]
    alone = [chain for chain in (others, [failing]) if _works(candidate, chain)]
    works = [swapped] if _works(candidate, swapped) else alone
    hint = " or ".join(f"'{_title(chain)}'" for chain in works) or "neither alone"
    raise InputError(
        f"chain '{_title(steps)}': {failing.technique.name} finds nothing to do behind "
        f"{_title(first)}: {error}; what works: {hint}"
    ) from error


def check_distillation(steps: Sequence[Step], what: str = "a transfer set") -> None:
    """Refuses what takes a teacher for a chain that trains nothing, or a step that has none.

    Args:
        steps: of the chain.
        what: is given, as in `--teacher`; only a transfer set needs a teacher in every step.

    Raises:
        InputError: names the step.
    """
    trained = [step for step in steps if step.training.epochs]
    require(
        bool(trained),
        f"{what} is for what a technique trains, and '{_title(steps)}' trains nothing: leave it "
        "out, or give epochs",
    )
    if what != "a transfer set":
        return
    for step in trained:
        distillation = step.training.distillation
        require(
            distillation is not None and distillation.weight > 0,
            f"a transfer set has no labels, and {step.technique.name} learns from labels alone: "
            "give it a teacher, --set distillation.weight=0.7",
        )


def _title(steps: Iterable[Step]) -> str:
    """Writes steps as the chain that names them."""
    return "+".join(step.technique.name for step in steps)


def _works(candidate: Candidate, steps: Sequence[Step]) -> bool:
    """Says whether a chain is allowed, and each of its techniques finds something to do."""
    allowed = _first_undone([step.technique for step in steps]) is None
    return allowed and _first_failure(candidate, steps) is None


def _first_failure(candidate: Candidate, steps: Sequence[Step]) -> tuple[int, InputError] | None:
    """Returns the first step that can't be applied to what those before it leave, and why.

    Where that depends on weights that are yet to be trained, the steps behind aren't looked at.
    """
    for at, step in enumerate(steps):
        try:
            step.technique.check(candidate, step.options)
        except InputError as error:
            return at, error
        if at == len(steps) - 1:
            break
        left = sketch(candidate, [step])
        if left is None:
            break
        candidate = left
    return None


def sketch(candidate: Candidate, steps: Iterable[Step]) -> Candidate | None:
    """Returns a network with the layers that a chain leaves, whatever their weights.

    Args:
        candidate: with the network, trained or not.
        steps: as `check` passed them.

    Returns:
        The candidate; None if its layers depend on weights that are yet to be trained.
    """
    for step in steps:
        left = (step.technique.sketch or step.technique.transform)(candidate, step.options)
        if left is None:
            return None
        properties = candidate.properties | step.technique.produces
        candidate = dataclasses.replace(left, properties=properties)
    return candidate


def transforms_of(steps: Iterable[Step]) -> list[Step]:
    """Returns a chain's steps without their trainings: `apply` then only transforms."""

    def untrained(
        candidate: Candidate,
        options: Any,
        data: Data,
        training: Training,
        context: TrainingContext,
    ) -> tuple[Candidate, list[Row]]:
        return candidate, []

    return [
        dataclasses.replace(step, technique=dataclasses.replace(step.technique, fit=untrained))
        for step in steps
    ]


def _first_undone(
    techniques: Sequence[Technique],
) -> tuple[Technique, Technique, Property] | None:
    """Finds the first technique whose work a later one undoes: both, and what is lost."""
    for position, later in enumerate(techniques):
        for first in techniques[:position]:
            for lost in sorted(first.produces - later.preserves):
                return first, later, lost
    return None


def distribute(
    techniques: Iterable[Technique], values: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Gives options to the techniques that have them.

    `rank=8` goes to every technique of the chain with an option `rank`, `cp.rank=8` to cp alone.

    Returns:
        Technique name to its options' values, and the keys that some technique took.
    """
    given: dict[str, dict[str, Any]] = {}
    taken = set()
    for technique in techniques:
        known = {field.name for field in dataclasses.fields(technique.options)}
        names = {key: key.removeprefix(f"{technique.name}.") for key in values}
        its_keys = [key for key, name in names.items() if name in known]
        taken |= {*its_keys}
        # In this order: the key that names its technique wins.
        its_keys.sort(key=lambda key: "." in key)
        given[technique.name] = {names[key]: values[key] for key in its_keys}
    return given, taken


def same_context(
    context: TrainingContext, title: str, candidate: Candidate, training: Training
) -> TrainingContext:
    """Trains every round in the chain's own context."""
    return context


def apply(
    candidate: Candidate,
    steps: Sequence[Step],
    data: Data,
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
    candidate = dataclasses.replace(candidate, data=data, objective=context.objective)
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
        properties = candidate.properties | step.technique.produces
        candidate = dataclasses.replace(candidate, properties=properties)
    return candidate, rows
