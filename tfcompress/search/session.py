"""Runs a search's trials in one process, beside others or alone, and sums up what was found."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from tfcompress.benchmark.processor import processor
from tfcompress.data.protocol import Data
from tfcompress.export import export
from tfcompress.files import quiet
from tfcompress.pipeline.results import file_predictor
from tfcompress.plain_text import one_line
from tfcompress.search.bench import Bench, Outcome, costs_of, memory_of, packed, silent
from tfcompress.search.budget import Budget, Costs
from tfcompress.search.database import StudyError
from tfcompress.search.engine import NAME, Aim, Study, Trial, hopeless
from tfcompress.search.fitting import fitted
from tfcompress.search.settings import Goal
from tfcompress.search.space import Choice, Space
from tfcompress.tflite.metadata import Metadata
from tfcompress.training.judging import Judge, held_out, judge_of
from tfcompress.training.objective import Objective, inferred_objective
from tfcompress.training.progress import say
from tfcompress.turns import Turns
from tfcompress.work import UNLOCKED, locked, release


@dataclasses.dataclass(frozen=True)
class Found:
    """A file of a trial that keeps all budgets.

    Attributes:
        trial: the trial's number.
        choice: what makes it.
        storage: how it is written.
        costs: what it costs, by the examples held out to choose by.
    """

    trial: int
    choice: Choice
    storage: str
    costs: Costs


def front(trials: Iterable[Trial], aim: Aim) -> list[Found]:
    """Returns the files within the budgets that no other one beats in bytes, time and accuracy.

    Args:
        trials: of a study.
        aim: with the budgets.

    Returns:
        The best by the aim's goal first.
    """
    sign = 1 if aim.metric.higher_is_better else -1
    files = [
        Found(trial.number, trial.choice, storage, costs)
        for trial in trials
        if trial.choice is not None and trial.outcome is not None
        for storage, costs in trial.outcome.files.items()
        if costs.value is not None and not aim.overrun(costs)
    ]

    def numbers(file: Found) -> tuple[float, float, float]:
        costs = file.costs
        assert costs.size is not None
        assert costs.value is not None
        time = float("inf") if costs.latency_ratio is None else costs.latency_ratio
        return costs.size, time, -sign * costs.value

    def beaten(file: Found) -> bool:
        mine = numbers(file)
        others = (numbers(other) for other in files if other is not file)
        return any(
            all(a <= b for a, b in zip(their, mine, strict=True)) and their != mine
            for their in others
        )

    best = [file for file in files if not beaten(file)]
    # Of equally good files the smaller one is first, then the faster one.
    return sorted(best, key=lambda file: (-aim.merit(file.costs), *numbers(file)))


class Searcher(Protocol):
    """What a search's engine offers to what sums it up.

    Attributes:
        aim: which files are wanted.
    """

    aim: Aim

    def run(self, trials: int) -> None:
        """Searches, until so many trials or steps have ended in all calls together."""
        ...

    def trials(self) -> list[Trial]:
        """Returns what was tried."""
        ...

    def front(self) -> list[Found]:
        """Returns the best files, as the function `front` does."""
        ...

    def importance(self) -> dict[str, float]:
        """Returns how much each drawn name decides; empty where nothing is drawn."""
        ...


class Session:
    """Tries compressions of one network on one machine.

    Args:
        model: the trained float network.
        data: what is trained on, and in the place of test examples those that are chosen by, as
            `data.held_out.without_test` makes them.
        folder: for `baseline.tflite` and the study.
        budgets: what files may cost.
        goal: what is best beyond that.
        space: what is tried.
        settings: fields of `Training` in place of each recipe's.
        objective: what is trained for; None for what follows from model and data.
        metric: by which networks are judged, as `judge_of` takes it.
        url: of the study's database; None for a file in the folder.
        seed: of draws and trainings.
        describe: as `Bench` has it.
        beside: whether other processes draw, too: they would draw the same by one seed.

    Raises:
        InputError: the database can't be reached.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data,
        folder: Path,
        *,
        budgets: Sequence[Budget],
        goal: Goal,
        space: Space,
        settings: Mapping[str, Any],
        objective: Objective | None = None,
        metric: str | None = None,
        url: str | None = None,
        seed: int = 0,
        describe: Callable[[str | None], Metadata | None] = silent,
        beside: bool = False,
    ) -> None:
        self.bench, self.aim = prepared(
            model,
            data,
            folder,
            budgets=budgets,
            goal=goal,
            settings=settings,
            objective=objective,
            metric=metric,
            seed=seed,
            describe=describe,
        )
        self._folder = folder
        self._worker = f"{socket.gethostname()}-{os.getpid()}"
        draws = zlib.crc32(f"{seed} {self._worker}".encode()) if beside else seed
        known = processor().features
        self.study = Study(
            space,
            self.aim,
            folder=folder,
            url=url,
            name=NAME if url is None else study_name(space, self.aim, settings),
            seed=draws,
            worker=self._worker,
            processor="unknown features" if known is None else ", ".join(known) or "none of them",
        )
        self._journal = url is None

    def run(self, trials: int) -> None:
        """Tries until so many trials have ended, those of other processes counted.

        What is impossible for the model isn't counted: it costs a second or two.

        Args:
            trials: how many.
        """
        with _alive(self._folder, self._worker):
            while (done := sum(map(_counts, self.study.trials()))) < trials:
                if self._journal:  # A database has heartbeats.
                    self.study.retry_abandoned(lambda name: _is_alive(self._folder, name))
                self.study.run_one(lambda choice: self._try_out(choice, done, trials))

    def _try_out(self, choice: Choice, done: int, trials: int) -> Any:
        """Tries a choice out and prints what came of it, but nothing of chains it can't have.

        Most draws of two techniques are such, found so in a second.
        """
        begun = False

        def begins() -> None:
            nonlocal begun
            begun = True
            say("trial", f"{done + 1}/{trials} {choice}")

        def stop(by_epoch: Sequence[float], epochs: int) -> bool:
            try:
                others = self.study.trials()
            except StudyError:  # It may be back when the training has ended.
                return False
            return hopeless(others, self.aim, by_epoch, epochs)

        outcome = self.bench.try_out(choice, stop, begins)
        if begun:
            say("trial", said_of(outcome, self.aim))
        following = fitted(choice, outcome, self.aim)
        if following is not None:
            self.study.queue(following)
        return outcome

    def trials(self) -> list[Trial]:
        """Returns the trials that ended."""
        return self.study.trials()

    def importance(self) -> dict[str, float]:
        """Returns how much each drawn name decides, as `Study.importance` does."""
        return self.study.importance()

    def front(self) -> list[Found]:
        """Returns the best files, as `front` does."""
        return front(self.trials(), self.aim)


def said_of(outcome: Outcome, aim: Aim) -> str:
    """Says in a line what came of a trial."""
    best = aim.best(outcome.files)
    if best is None:
        return one_line(f"{outcome.state}: {outcome.reason}", 200)
    file, floats = outcome.files[best], aim.floats
    assert file.size is not None
    assert floats.size is not None
    time = "" if file.latency_ratio is None else f", {file.latency_ratio:.2f} of the time"
    within = "within the budgets" if not aim.overrun(file) else "over a budget"
    return (
        f"{best}: {file.size / 1024:,.1f} KiB, {file.size / floats.size:.3f} of the float "
        f"file{time}, {aim.metric.text(file.value)}; {within}; {outcome.seconds:.0f} s"
    )


def prepared(
    model: keras.Model,
    data: Data,
    folder: Path,
    *,
    budgets: Sequence[Budget],
    goal: Goal,
    settings: Mapping[str, Any],
    objective: Objective | None = None,
    metric: str | None = None,
    seed: int = 0,
    describe: Callable[[str | None], Metadata | None] = silent,
) -> tuple[Bench, Aim]:
    """Writes and weighs the float network's file; returns what tries others, and what is wanted.

    The arguments are those of `Session`.
    """
    judge = judge_of(model, data, objective or inferred_objective(model, data), metric)
    turns = Turns()
    with turns.training():
        floats, noise = _float_costs(model, data, judge, folder, budgets, describe(None))
    bench = Bench(
        model=model,
        data=data,
        judge=judge,
        objective=objective,
        budgets=tuple(budgets),
        settings=settings,
        seed=seed,
        folder=folder,
        floats=floats,
        turns=turns,
        describe=describe,
    )
    return bench, Aim(tuple(budgets), goal, floats, judge.metric, noise)


def study_name(space: Space, aim: Aim, settings: Mapping[str, Any]) -> str:
    """Returns the name of a search's study: another network's, or another search, has another one.

    Machines that share a study train the float network themselves, so that its weights may differ
    in the last bits; the size of its file doesn't.
    """
    budgets = [budget.text for budget in aim.budgets]
    what = [budgets, aim.goal, dataclasses.asdict(space), aim.metric.name, aim.floats.size]
    said = json.dumps([*what, dict(settings)], sort_keys=True, default=str)
    return f"{NAME}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _counts(trial: Trial) -> bool:
    return trial.outcome is not None and trial.outcome.state != "impossible"


def _float_costs(
    model: keras.Model,
    data: Data,
    judge: Judge,
    folder: Path,
    budgets: Sequence[Budget],
    described: Metadata | None,
) -> tuple[Costs, float]:
    """Writes the float network's file; returns what it costs, and its metric's standard error."""
    path = folder / "baseline.tflite"
    with quiet():
        export(model, path, metadata=described)
    wanted = {each.kind for each in budgets}
    judged = judge.judge(held_out(file_predictor(path, model), data))
    each = judged.per_example
    # Of a metric that is no mean nothing is known.
    noise = 0.0 if each is None else float(np.std(each) / np.sqrt(judged.examples))
    costs = dataclasses.replace(
        costs_of(path),
        latency_ratio=1.0,
        value=judged.value,
        memory=memory_of(path) if "memory" in wanted else None,
        tfz=packed(path) if "tfz" in wanted else None,
    )
    return costs, noise


def _lock_file(folder: Path, worker: str) -> Path:
    return folder / "workers" / f"{worker}.lock"


@contextlib.contextmanager
def _alive(folder: Path, worker: str) -> Iterator[None]:
    """Holds a lock by which other processes find that this one runs."""
    path = _lock_file(folder, worker)
    path.parent.mkdir(exist_ok=True)
    lock = locked(path)
    assert lock is not None  # No other process has this name.
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        release(lock)
        with contextlib.suppress(OSError):  # Others are at work.
            path.parent.rmdir()


def _is_alive(folder: Path, worker: str) -> bool:
    """Says whether a process of this folder still runs, or can't be told from one that does."""
    path = _lock_file(folder, worker)
    if not path.exists():
        return False
    lock = locked(path)
    if lock is None or lock == UNLOCKED:  # Where there are no locks nobody is taken for dead.
        return True
    path.unlink(missing_ok=True)
    release(lock)
    return False
