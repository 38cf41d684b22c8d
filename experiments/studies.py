"""Shares the cells of an experiment among machines, by a database of Optuna's.

Each cell is a trial with nothing to draw: the database gives it to one process, whose heartbeats
tell the others that it still runs, and keeps its rows. What a lock file can't do between machines
that share no disk.
"""

from __future__ import annotations

import json
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import TRIES, FailedError, Row, Step

from tfcompress.errors import InputError
from tfcompress.plain_text import first_line
from tfcompress.search.database import database_errors, optuna_package, storage

# Between looks at what other machines do.
_WAIT_S = 5.0


class CellStudy:
    """Gives out cells, each to one process of one machine, and collects their rows.

    Args:
        url: of the database, as Optuna takes it.
        name: of the study: that of another one shares nothing with it.

    Raises:
        InputError: Optuna isn't installed, or the database can't be reached.
    """

    def __init__(self, url: str, name: str) -> None:
        self._optuna = optuna = optuna_package()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        from sqlalchemy.exc import ArgumentError

        wrong: Exception | None = None
        with warnings.catch_warnings(), database_errors():
            warnings.simplefilter("ignore")  # Of parts of Optuna's own that are new.
            try:
                self._study = optuna.create_study(
                    storage=storage(Path(), url),
                    study_name=name,
                    sampler=optuna.samplers.RandomSampler(),
                    load_if_exists=True,
                )
            except (ArgumentError, ImportError) as error:
                wrong = error
        if wrong is not None:
            raise InputError(f"--study={url}: {first_line(wrong)}")

    def run(
        self,
        steps: Sequence[Step],
        measure: Callable[[Step], tuple[Mapping[str, Row], Mapping[str, Any]]],
    ) -> None:
        """Measures cells until all are done, by this process or another.

        A cell whose process died is tried once more, as is one that failed.

        Args:
            steps: what to measure, the same for all that share the study.
            measure: returns a cell's rows and the record of their measurement.

        Raises:
            FailedError: cells failed as often as they are tried.
            InputError: the database fails, or something that the user gave can't be used.
        """
        cells = {_name(keys): (keys, function) for keys, function in steps}
        with warnings.catch_warnings(), database_errors():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            known = {trial.user_attrs.get("cell") for trial in self._trials()}
            for cell in cells:
                if cell not in known:
                    self._study.enqueue_trial({}, user_attrs={"cell": cell})
            while self._has("WAITING") or self._has("RUNNING"):
                if self._has("WAITING"):
                    self._study.optimize(
                        lambda trial: self._measured(trial, cells, measure),
                        n_trials=1,
                        catch=(_NotThisError, _CellError),
                    )
                else:
                    time.sleep(_WAIT_S)
                    self._optuna.storages.fail_stale_trials(self._study)
        failed = sorted(cells.keys() - self.rows().keys())
        if failed:
            raise FailedError(f"{len(failed)} of {len(cells)} cells failed: {'; '.join(failed)}")

    def rows(self) -> dict[str, tuple[dict[str, Row], dict[str, Any]]]:
        """Returns what is done: by cell the rows, and the record of their measurement."""
        done = self._optuna.trial.TrialState.COMPLETE
        with database_errors():
            return {
                trial.user_attrs["cell"]: tuple(json.loads(trial.user_attrs["rows"]))
                for trial in self._trials()
                if trial.state == done
            }

    def _trials(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))

    def _has(self, state: str) -> bool:
        wanted = self._optuna.trial.TrialState[state]
        return bool(self._study.get_trials(deepcopy=False, states=(wanted,)))

    def _is_retry(self, trial: Any) -> bool:
        """Says whether a cell is tried again in a trial, by us or, after a death, by Optuna."""
        of_optuna = self._optuna.storages.RetryHeartbeatStaleTrialCallback
        return "retry" in trial.user_attrs or of_optuna.retried_trial_number(trial) is not None

    def _measured(
        self,
        trial: Any,
        cells: Mapping[str, Step],
        measure: Callable[[Step], tuple[Mapping[str, Row], Mapping[str, Any]]],
    ) -> float:
        """Measures the cell of a trial and keeps its rows there."""
        cell = trial.user_attrs.get("cell")
        # None of the queue is left for this process; or the others' flags were other ones.
        if cell not in cells:
            raise _NotThisError
        same = [each for each in self._trials() if each.user_attrs.get("cell") == cell]
        complete = self._optuna.trial.TrialState.COMPLETE
        # Several machines may have put the same cell in: the first one counts, and its retries.
        first = min(each.number for each in same if not self._is_retry(each))
        (own,) = [each for each in same if each.number == trial.number]
        if any(each.state == complete for each in same) or not (
            own.number == first or self._is_retry(own)
        ):
            raise _NotThisError
        try:
            rows, made = measure(cells[cell])
        except InputError:
            raise
        except Exception as error:
            traceback.print_exc()
            trial.set_user_attr("failed", True)
            if sum("failed" in each.user_attrs for each in same) + 1 < TRIES:
                self._study.enqueue_trial({}, user_attrs={"cell": cell, "retry": True})
            raise _CellError from error
        trial.set_user_attr("rows", json.dumps([rows, made]))
        return 0.0


class _NotThisError(Exception):
    """A trial isn't a cell that this process is to measure."""


class _CellError(Exception):
    """A cell's measurement failed."""


def study_name(experiment: str, steps: Sequence[Step], settings: Mapping[str, Any]) -> str:
    """Returns a name that only commands which measure the same cells share."""
    what = json.dumps([sorted(_name(keys) for keys, _ in steps), settings], sort_keys=True)
    return f"tfcompress-{experiment}-{zlib.crc32(what.encode()):08x}"


def _name(keys: Sequence[str]) -> str:
    return " | ".join(keys)
