"""Draws trials with Optuna, and keeps what came of them where several processes find it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcompress.errors import InputError, require
from tfcompress.metric import Metric
from tfcompress.options import Range
from tfcompress.search.bench import Outcome
from tfcompress.search.budget import Budget, Costs, overruns
from tfcompress.search.database import database_errors, optuna_package, storage
from tfcompress.search.settings import Goal
from tfcompress.search.space import Choice, Space

if TYPE_CHECKING:
    import optuna

NAME = "tfcompress"
# A chain that isn't allowed is drawn anew, so many times.
_REDRAWS = 200
# Beyond any file's overrun and merit.
_FAR = 1e12


@dataclasses.dataclass(frozen=True)
class Aim:
    """Says which files are wanted, and which of them is the best.

    Attributes:
        budgets: what a file may cost.
        goal: what is best beyond that: the most accuracy, the fewest bytes or the least time.
        floats: what the float file costs.
        metric: of `accuracy`.
        noise: by how much the metric of a file would differ on other examples: a standard error.
    """

    budgets: tuple[Budget, ...]
    goal: Goal
    floats: Costs
    metric: Metric
    noise: float = 0.0

    def overrun(self, file: Costs) -> float:
        """Returns the sum of what a file takes beyond its budgets; 0 if it keeps them."""
        return sum(overruns(self.budgets, file, self.floats, self.metric).values())

    def merit(self, file: Costs) -> float:
        """Returns the number by which files are compared; the larger one is better."""
        if self.goal == "accuracy":
            value = file.value
            assert value is not None  # The file is a trained network's.
            return value if self.metric.higher_is_better else -value
        cost = file.size if self.goal == "size" else file.latency_ratio
        return -float("inf") if cost is None else -cost

    def best(self, files: Mapping[str, Costs]) -> str | None:
        """Returns the storage of the best file: within the budgets, or else nearest to them."""
        if not files:
            return None
        return max(files, key=lambda name: (-self.overrun(files[name]), self.merit(files[name])))


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial of a study.

    Attributes:
        number: in the study.
        choice: what was tried; None of one that isn't a legal chain.
        outcome: what came of it; None of one that was cut short.
    """

    number: int
    choice: Choice | None
    outcome: Outcome | None


class Study:
    """Asks Optuna what to try next, and tells it what came of it.

    Args:
        space: what is drawn from.
        aim: which files are wanted.
        folder: of the journal.
        url: of a database in place of it, as Optuna takes it.
        name: of the study in a database.
        seed: of the draws.
        worker: the name of this process, by which others find whether it still runs.
        processor: what this machine's processor can do, which times depend on.

    Raises:
        InputError: Optuna isn't installed, or the study's times are of other processors.
        StudyError: the database can't be reached; so do all methods that ask it.
    """

    def __init__(
        self,
        space: Space,
        aim: Aim,
        *,
        folder: Path,
        url: str | None = None,
        name: str = NAME,
        seed: int = 0,
        worker: str = "",
        processor: str = "",
    ) -> None:
        self._space, self._aim, self._worker = space, aim, worker
        self._processor = processor
        optuna = optuna_package()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with _unwarned(), database_errors():
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=10
            )
            self._study = optuna.create_study(
                storage=storage(folder, url),
                study_name=name,
                direction="maximize",
                sampler=sampler,
                load_if_exists=True,
            )
            known = self._study.user_attrs.get("processor")
            if known is None:
                self._study.set_user_attr("processor", processor)
        require(
            known in (None, processor),
            f"the study's times are of a processor with {known}, and this one has {processor}: "
            "they can't be compared; search here with another --output_dir or database",
        )

    def trials(self) -> list[Trial]:
        """Returns the trials that ended, in their order."""
        with database_errors():
            found = self._study.get_trials(deepcopy=False)
        return [_read(each) for each in found if "outcome" in each.user_attrs]

    def run_one(self, try_out: Callable[[Choice], Outcome]) -> None:
        """Draws a choice that wasn't tried yet, has it tried out, and keeps what came of it.

        Args:
            try_out: does so.

        Raises:
            InputError: no legal chain is left to draw.
        """
        given_up = _given_up(self.trials())

        def objective(trial: optuna.Trial) -> float:
            choice = self._space.draw(lambda name, values: _suggest(trial, name, values))
            # Asked now: as a draw begins Optuna finds dead machines, and queues copies of their
            # trials. This may be one, and has the choice noted already.
            if choice is None or str(choice) in self._drawn(but=trial.number):
                raise _DrawAgainError
            if choice.chain in given_up:
                return self._worst(trial)
            stored = {"chain": choice.chain, "options": dict(choice.options)}
            trial.set_user_attr("choice", json.dumps(stored))
            trial.set_user_attr("worker", self._worker)
            trial.set_user_attr("processor", self._processor)
            return self._told(trial, try_out(choice))

        for _ in range(_REDRAWS):
            before = len(self.trials())
            with database_errors():
                self._study.optimize(objective, n_trials=1, catch=(_DrawAgainError,))
            if len(self.trials()) > before:
                return
        raise InputError(
            f"{_REDRAWS} draws gave nothing new: the search has tried what there is; give more "
            "techniques, or fewer trials"
        )

    def queue(self, choice: Choice) -> None:
        """Has a choice tried next, unless it was tried or stands in the queue.

        Args:
            choice: of the study's space.
        """
        if str(choice) not in self._drawn():
            with _unwarned(), database_errors():
                self._study.enqueue_trial(self._space.drawn_as(choice), skip_if_exists=True)

    def _drawn(self, but: int | None = None) -> set[str]:
        """Returns what was tried, or is being tried by another process.

        Args:
            but: the number of a trial that is left out.
        """
        with database_errors():
            found = self._study.get_trials(deepcopy=False)
        running = optuna_package().trial.TrialState.RUNNING
        stored = [
            json.loads(each.user_attrs["choice"])
            for each in found
            if "choice" in each.user_attrs
            and each.number != but
            and ("outcome" in each.user_attrs or each.state == running)
        ]
        return {str(Choice(each["chain"], each["options"])) for each in stored}

    def _told(self, trial: optuna.Trial, outcome: Outcome) -> float:
        """Keeps what came of a trial, and returns its merit."""
        trial.set_user_attr("outcome", json.dumps(outcome.to_json()))
        files = outcome.comparable()
        best = self._aim.best(files)
        if best is None:
            return self._worst(trial)
        aim = self._aim
        over = overruns(aim.budgets, files[best], aim.floats, aim.metric)
        for budget in aim.budgets:
            trial.set_constraint(budget.kind, over.get(budget.kind, 0.0))
        return aim.merit(files[best])

    def _worst(self, trial: optuna.Trial) -> float:
        """Says of a trial without a file that it is far over all budgets.

        Of one that failed Optuna would learn nothing, and draw the like again.
        """
        for budget in self._aim.budgets:
            trial.set_constraint(budget.kind, _FAR)
        return -_FAR

    def retry_abandoned(self, alive: Callable[[str], bool]) -> None:
        """Has the trials of processes that died tried once more.

        Args:
            alive: says whether a worker still runs, by its name.
        """
        state = optuna_package().trial.TrialState
        with database_errors():
            running = self._study.get_trials(deepcopy=False, states=(state.RUNNING,))
            for trial in running:
                if alive(trial.user_attrs.get("worker", "")):
                    continue
                self._study.tell(trial.number, state=state.FAIL)
                if trial.params and "retry_of" not in trial.user_attrs:
                    self._study.enqueue_trial(trial.params, {"retry_of": trial.number})

    def importance(self) -> dict[str, float]:
        """Returns how much each drawn name decides about the merit; empty of too few trials."""
        importance = optuna_package().importance
        evaluator = importance.PedAnovaImportanceEvaluator()  # The others need scikit-learn.
        # It warns of choices that few trials had: such a share is small anyway.
        few = contextlib.suppress(ValueError, RuntimeError)
        with database_errors(), warnings.catch_warnings(), few:
            warnings.simplefilter("ignore")
            found = importance.get_param_importances(self._study, evaluator=evaluator)
            return {name: float(value) for name, value in found.items()}
        return {}


class _DrawAgainError(Exception):
    """What was drawn isn't allowed, or was tried already."""


def _given_up(trials: Iterable[Trial]) -> set[str]:
    """Returns the chains that are impossible for the model, whatever their options may be.

    One set of options may be impossible by itself; two without another that worked are taken for
    the chain's fault.
    """
    states: dict[str, list[str]] = {}
    for trial in trials:
        if trial.choice is not None and trial.outcome is not None:
            states.setdefault(trial.choice.chain, []).append(trial.outcome.state)
    return {
        chain for chain, those in states.items() if len(those) > 1 and {*those} == {"impossible"}
    }


def usual_goal(budgets: Iterable[Budget]) -> Goal:
    """Returns what is best where nobody says so: accuracy, or bytes where accuracy is budgeted."""
    return "size" if any(budget.kind == "drop" for budget in budgets) else "accuracy"


def hopeless(trials: Sequence[Trial], aim: Aim, by_epoch: Sequence[float], epochs: int) -> bool:
    """Says whether a training is broken off.

    It is if no training so far has gained from the same share of its epochs on what this one would
    have to gain to be wanted, up to a standard error. Three trainings must have ended, and a fifth
    of this one.

    Args:
        trials: those that ended.
        aim: which files are wanted.
        by_epoch: what the network was worth after each epoch so far.
        epochs: of the whole training.
    """
    sign = 1 if aim.metric.higher_is_better else -1
    share = len(by_epoch) / epochs
    gains, best = [], -float("inf")
    for trial in trials:
        outcome = trial.outcome
        if outcome is None or outcome.state != "trained" or not outcome.by_epoch:
            continue
        at = max(round(share * len(outcome.by_epoch)) - 1, 0)
        gains.append(sign * (outcome.by_epoch[-1] - outcome.by_epoch[at]))
        values = (each.value for each in outcome.files.values() if not aim.overrun(each))
        best = max([best, *(sign * value for value in values if value is not None)])
    if share < 0.2 or len(gains) < 3:
        return False
    needed = _needed(aim)
    if needed is None and aim.goal == "accuracy":
        needed = best
    return needed is not None and sign * by_epoch[-1] + max(gains) + aim.noise < needed


def _needed(aim: Aim) -> float | None:
    """Returns what a budget of lost accuracy leaves, times -1 where less is better."""
    value = aim.floats.value
    for budget in aim.budgets:
        if budget.kind == "drop" and value is not None:
            scale = 0.01 if aim.metric.share else 0.01 * abs(value)
            sign = 1 if aim.metric.higher_is_better else -1
            return sign * value - scale * budget.limit
    return None


def _suggest(trial: optuna.Trial, name: str, values: Range) -> Any:
    """Has Optuna draw a value."""
    if values.values:
        return trial.suggest_categorical(name, values.values)
    return trial.suggest_float(name, values.low, values.high, step=values.step or None)


def _read(found: optuna.trial.FrozenTrial) -> Trial:
    """Returns a trial as the study has it."""
    choice = json.loads(found.user_attrs["choice"])
    outcome = Outcome.from_json(json.loads(found.user_attrs["outcome"]))
    return Trial(found.number, Choice(choice["chain"], choice["options"]), outcome)


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Silences what Optuna says of its own parts that are new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", optuna_package().exceptions.ExperimentalWarning)
        yield
