"""Runs a search's trials in one process, beside others or alone, and sums up what was found."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from tfcompress.container import archive
from tfcompress.data.protocol import Data
from tfcompress.export import export
from tfcompress.files import quiet
from tfcompress.pipeline.results import file_predictor
from tfcompress.plain_text import one_line
from tfcompress.search.bench import Bench, costs_of, memory_of
from tfcompress.search.budget import Budget, Costs
from tfcompress.search.engine import Aim, Study, Trial, hopeless
from tfcompress.search.settings import Goal
from tfcompress.search.space import Choice, Space
from tfcompress.search.turns import Turns
from tfcompress.training.judging import Judge, held_out, judge_of
from tfcompress.training.objective import Objective, inferred_objective
from tfcompress.training.progress import say


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
    return sorted(best, key=lambda file: aim.merit(file.costs), reverse=True)


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
        study: the study's name there.
        seed: of draws and trainings.
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
        study: str = "tfcompress",
        seed: int = 0,
        beside: bool = False,
    ) -> None:
        judge = judge_of(model, data, objective or inferred_objective(model, data), metric)
        self._turns = Turns()
        self._folder = folder
        with self._turns.training():
            floats = _float_costs(model, data, judge, folder, budgets)
        self.aim = Aim(tuple(budgets), goal, floats, judge.metric)
        self.bench = Bench(
            model=model,
            data=data,
            judge=judge,
            objective=objective,
            budgets=tuple(budgets),
            settings=settings,
            seed=seed,
            folder=folder,
            floats=floats,
            turns=self._turns,
        )
        self._worker = f"{socket.gethostname()}-{os.getpid()}"
        draws = zlib.crc32(f"{seed} {self._worker}".encode()) if beside else seed
        self.study = Study(
            space, self.aim, folder=folder, url=url, name=study, seed=draws, worker=self._worker
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
        """Tries a choice out and prints a line on what came of it."""
        say("trial", f"{done + 1}/{trials} {choice}")

        def stop(by_epoch: Sequence[float], epochs: int) -> bool:
            return hopeless(self.study.trials(), self.aim, by_epoch, epochs)

        outcome = self.bench.try_out(choice, stop)
        best = self.aim.best(outcome.files)
        if best is None:
            say("trial", one_line(f"{outcome.state}: {outcome.reason}", 200))
            return outcome
        file, floats = outcome.files[best], self.aim.floats
        assert file.size is not None
        assert floats.size is not None
        time = "" if file.latency_ratio is None else f", {file.latency_ratio:.2f} of the time"
        within = "within the budgets" if not self.aim.overrun(file) else "over a budget"
        say("trial", f"{best}: {file.size / 1024:,.1f} KiB, {file.size / floats.size:.3f} of the "
            f"float file{time}, {self.aim.metric.text(file.value)}; {within}; "
            f"{outcome.seconds:.0f} s")  # fmt: skip
        return outcome

    def front(self) -> list[Found]:
        """Returns the best files, as `front` does."""
        return front(self.study.trials(), self.aim)


def _counts(trial: Trial) -> bool:
    return trial.outcome is not None and trial.outcome.state != "impossible"


def _float_costs(
    model: keras.Model, data: Data, judge: Judge, folder: Path, budgets: Sequence[Budget]
) -> Costs:
    """Writes the float network's file and returns what it costs."""
    path = folder / "baseline.tflite"
    with quiet():
        export(model, path)
    wanted = {each.kind for each in budgets}
    value = judge.judge(held_out(file_predictor(path, model), data)).value
    return dataclasses.replace(
        costs_of(path),
        latency_ratio=1.0,
        value=value,
        memory=memory_of(path) if "memory" in wanted else None,
        tfz=archive.pack(path, path.with_suffix(".tfz"))[1] if "tfz" in wanted else None,
    )


def _lock_file(folder: Path, worker: str) -> Path:
    return folder / "workers" / f"{worker}.lock"


@contextlib.contextmanager
def _alive(folder: Path, worker: str) -> Iterator[None]:
    """Holds a lock by which other processes find that this one runs."""
    path = _lock_file(folder, worker)
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # Others are at work.
                path.parent.rmdir()


def _is_alive(folder: Path, worker: str) -> bool:
    """Says whether a process of this folder still runs."""
    path = _lock_file(folder, worker)
    try:
        import fcntl

        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, ImportError):
        return False
    except BlockingIOError:
        return True
    path.unlink(missing_ok=True)
    return False
