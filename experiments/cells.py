"""Shares the cells of an experiment among processes: each is claimed by one, and measured once.

A claim is a lock beside the results, which the system frees when its process ends, however it
does. So a command may be started several times on one folder, and `--workers` only starts the
processes and looks after them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcompress.errors import InputError, PathError
from tfcompress.search.workers import run_workers
from tfcompress.work import held

CLAIMS = ".cells"
# A cell that failed, or whose process died, is tried once more.
TRIES = 2
_WAIT_S = 0.05
Row = dict[str, Any]
# Keys that are measured together, and what measures them.
Step = tuple[tuple[str, ...], Callable[[], Mapping[str, Row]]]


class FailedError(Exception):
    """Cells failed as often as they are tried; what they said stands above."""


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Holds a folder, made for that, within the block; yields False if another process has it.

    Raises:
        PathError: the folder's disk has no locks.
    """
    with contextlib.ExitStack() as lock:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.enter_context(held(folder))
                break
            except FileNotFoundError:
                continue  # Its last holder has just removed it.
            except PathError as error:
                if "no file locks" in str(error):
                    raise
                yield False
                return
        try:
            yield True
        finally:
            lock.close()
            _remove_if_empty(folder)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder, made for that, within the block, once no other process has it any more."""
    while True:
        with claim(folder) as mine:
            if mine:
                yield
                return
        time.sleep(_WAIT_S)


@contextlib.contextmanager
def making(path: Path) -> Iterator[None]:
    """Lets one process at a time make a file or folder that several need."""
    with alone(path.with_name(f".{path.name}.making")):
        yield


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def folder_of(results: Path, keys: Sequence[str]) -> Path:
    """Returns the folder by which a cell is claimed."""
    return results / CLAIMS / f"{zlib.crc32(' | '.join(keys).encode()):08x}"


def note_done(results: Path, keys: Sequence[str]) -> Path:
    """Returns the file that says of a cell that is measured again in a batch that it was."""
    return folder_of(results, keys) / "try-done"


def clear(results: Path, steps: Sequence[Step]) -> None:
    """Removes the notes of a batch, but not what another process holds."""
    for keys, _ in steps:
        for note in folder_of(results, keys).glob("try-*"):
            note.unlink(missing_ok=True)
        _remove_if_empty(folder_of(results, keys))
    _remove_if_empty(results / CLAIMS)


def share(
    results: Path,
    steps: Sequence[Step],
    is_done: Callable[[Sequence[str]], bool],
    measure: Callable[[Step], None],
    *,
    batch: str | None = None,
) -> None:
    """Measures the cells that no other process has claimed, each after it was claimed.

    Args:
        results: the folder of the rows.
        steps: what to measure.
        is_done: says whether all rows of a cell are there by now, from whichever process.
        measure: measures a cell and keeps its rows.
        batch: the name of a batch of workers, in which a cell is tried `TRIES` times at most,
            whoever tries it; an error then ends the cell alone. None for a process by itself,
            which an error ends.

    Raises:
        InputError: something that the user gave can't be used.
    """
    while True:
        tried = False
        for step in steps:
            with claim(folder_of(results, step[0])) as mine:
                if not mine or is_done(step[0]):
                    continue
                if batch is None:
                    measure(step)
                else:
                    tried |= _try(results, step, measure, batch)
        if not tried:
            break
    _remove_if_empty(results / CLAIMS)


def _try(results: Path, step: Step, measure: Callable[[Step], None], batch: str) -> bool:
    """Measures a cell unless it was tried often enough; says whether it did so."""
    folder = folder_of(results, step[0])
    before = len(list(folder.glob(f"try-{batch}-*")))
    if before >= TRIES:
        return False
    # Before it begins: a process that is killed can't note it afterwards.
    (folder / f"try-{batch}-{before + 1}").touch()
    try:
        measure(step)
    except InputError:
        raise
    except Exception:
        traceback.print_exc()
        print(f"{' | '.join(step[0])}: try {before + 1} of {TRIES} failed", flush=True)
    return True


def by_workers(
    results: Path,
    steps: Sequence[Step],
    is_done: Callable[[Sequence[str]], bool],
    workers: int,
) -> None:
    """Has processes with this one's command measure the cells, and waits for them.

    Args:
        results: the folder of the rows.
        steps: what to measure.
        is_done: as of `share`.
        workers: how many processes; each has its share of the cores.

    Raises:
        FailedError: cells failed.
        InputError: a worker was given what can't be used; it has said so.
    """
    batch = f"{os.getpid()}-{time.time_ns()}"
    clear(results, steps)
    try:
        run_workers([sys.executable, *sys.argv, f"--batch={batch}"], workers)
        failed = [" | ".join(keys) for keys, _ in steps if not is_done(keys)]
    finally:
        clear(results, steps)
    if failed:
        raise FailedError(
            f"{len(failed)} of {len(steps)} cells failed {TRIES} times ({'; '.join(failed)}): the "
            "same command tries them again"
        )
