"""Opens what keeps a study of Optuna: a file, or a database of several machines; without Keras."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfcompress.errors import InputError
from tfcompress.plain_text import first_line

# Of a study that no URL names: the file that its processes share.
_JOURNAL = "study.journal"
# At the tables of a database, which several machines may be making.
_ATTEMPTS = 4
# Packages whose errors are a database's.
_DATABASES = ("sqlalchemy", "psycopg", "psycopg2", "pymysql")


class StudyError(InputError):
    """The study's database can't be reached, or refuses; what is finished is kept."""


def optuna_package() -> Any:
    """Imports Optuna.

    Raises:
        InputError: it isn't installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError("a search needs Optuna: pip install 'tfcompress[search]'") from error
    return optuna


def storage(folder: Path, url: str | None) -> Any:
    """Returns where Optuna keeps a study."""
    optuna = optuna_package()
    if url is None:
        backend = optuna.storages.journal.JournalFileBackend(str(folder / _JOURNAL))
        return optuna.storages.JournalStorage(backend)
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    clashes = (IntegrityError, ProgrammingError)
    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1)
    for attempt in range(1, _ATTEMPTS + 1):
        # Of several machines that make the tables at once one succeeds.
        with contextlib.suppress(*(clashes if attempt < _ATTEMPTS else ())):
            made = _steady(optuna.storages.RDBStorage)(
                url,
                # A connection that was lost while a network trained is made anew.
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=60,
                grace_period=180,
                heartbeat_stale_trial_callback=retry,
            )
            _one_at_a_time(made.engine)
            return made
        time.sleep(attempt)
    raise AssertionError


def _one_at_a_time(engine: Any) -> None:
    """Lets transactions of an SQLite file begin one at a time.

    Others lock a trial's row where Optuna asks whether the trial still waits, and takes it. SQLite
    has no such locks, and two processes could take the same one.
    """
    if engine.dialect.name != "sqlite":
        return
    from sqlalchemy import event

    # Else Python's sqlite3 begins a transaction with the first change, behind what was asked.
    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _steady(kind: Any) -> Any:
    """Returns a storage whose heart goes on beating when the database misses a beat."""

    class SteadyStorage(kind):
        def record_heartbeat(self, trial_id: int) -> None:
            with contextlib.suppress(StudyError), database_errors():
                super().record_heartbeat(trial_id)

    return SteadyStorage


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turns what a database says into one line.

    Raises:
        StudyError: the database can't be reached, or refuses.
    """
    try:
        yield
    except Exception as error:
        cause = _of_database(error)
        if cause is None:
            raise
        raise StudyError(
            f"the study's database fails ({first_line(cause)}): what is finished is kept; the same "
            "command goes on when the database is back"
        ) from error


def _of_database(error: BaseException | None) -> BaseException | None:
    """Returns what the database said among an error and what led to it; None of other errors.

    Optuna puts other words in its place, and fails itself where it can't note a trial's end.
    """
    while error is not None:
        if type(error).__module__.partition(".")[0] in _DATABASES:
            return error
        error = error.__cause__ or error.__context__
    return None
