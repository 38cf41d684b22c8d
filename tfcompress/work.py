"""Keeps what is unfinished in a folder `.tfcompress` beside the place of the finished files.

An empty file, named by the key in `_KEY`, tells such a folder from one of another program, which is
left alone. Each writer holds the lock of its own part of the folder until it is done or dies; then
the next writer removes the part. The folder goes when nothing is left in it.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tfcompress.bounded_json import read_json
from tfcompress.errors import PathError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and what a killed process left stays.
    fcntl = None  # type: ignore[assignment]

NAME = ".tfcompress"
# The file is empty, so that it can't be there in part. It is the lock of the folder it lies in.
_KEY = "made-by-tfcompress-9d3c61f0a8be47f2"
_PART = "part-"
_RUN_LOCK, _RUN_HOLDER, _RUN_STATE = "run.lock", "run.holder", "run"
# What flock says where there are no locks, as on some network disks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
UNLOCKED = -1
# The lock of `.tfcompress` itself is held for the time of a few system calls.
_WAIT_S = 30.0


@contextlib.contextmanager
def work_folder(beside: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty folder, on the disk of another one, for what is unfinished.

    It is removed after the block or, if the process is killed, by the next one that writes there.

    Args:
        beside: the folder that the finished files will stand in.

    Raises:
        PathError: the folder holds a `.tfcompress` that isn't ours.
        OSError: the folder can't be written.
    """
    folder = Path(beside).absolute()
    with _shared(folder) as shared:
        part = Path(tempfile.mkdtemp(prefix=_PART, dir=shared))
        try:
            lock = locked(part / _KEY)
        except BaseException:
            _remove_part(part)
            raise
    assert lock is not None  # The part was only just made.
    try:
        content = part / "content"
        content.mkdir()
        yield content
    finally:
        # What can't be removed now is left to the next writer.
        with contextlib.suppress(OSError), _shared(folder):
            _remove_part(part)
        release(lock)


@contextlib.contextmanager
def held(beside: str | os.PathLike[str]) -> Iterator[Path]:
    """Holds a folder for this process, whose number, host and time others are told.

    Args:
        beside: the folder.

    Yields:
        A path in its `.tfcompress`, where the caller may make a folder that outlives the process.

    Raises:
        PathError: another process holds the folder, its disk has no locks, or it holds a
            `.tfcompress` that isn't ours.
        OSError: the folder can't be written.
    """
    folder = Path(beside).absolute()
    with _shared(folder) as shared:
        lock = locked(shared / _RUN_LOCK)
        if lock is None:
            raise PathError(f"{_holder(shared)} into {beside}: wait for it")
        try:
            if lock == UNLOCKED and fcntl is not None:
                raise PathError(f"the disk of {beside} has no file locks: take a local one")
            _write_holder(shared)
        except BaseException:
            _remove_run_lock(shared)
            release(lock)
            raise
    try:
        yield shared / _RUN_STATE
    finally:
        with contextlib.suppress(OSError), _shared(folder):
            _remove_run_lock(shared)
        release(lock)


@contextlib.contextmanager
def _shared(folder: Path) -> Iterator[Path]:
    """Yields a folder's `.tfcompress` while no other process adds to it or removes from it.

    What killed processes left is removed first, and the folder in the end if nothing is in it.
    """
    shared = folder / NAME
    lock = _enter(shared)
    try:
        if lock != UNLOCKED:  # Without locks nobody knows who is alive.
            _remove_abandoned(shared)
        yield shared
    finally:
        _remove_if_empty(shared)
        release(lock)


def _enter(shared: Path) -> int:
    """Makes `.tfcompress` if it isn't there, and waits for its lock.

    Raises:
        PathError: it isn't ours, or another process keeps the lock.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(shared)
        # Whoever was last in it may remove it at any time until it is locked.
        with contextlib.suppress(FileNotFoundError):
            if not _is_ours(shared):
                raise PathError(
                    f"{shared} isn't a folder of this version of tfcompress: move it, or remove "
                    "it if an older version left it"
                )
            try:
                lock = locked(shared / _KEY, wait_s=_WAIT_S)
            except OSError:  # A full disk, perhaps, that has a folder left but no file.
                with contextlib.suppress(OSError):
                    os.rmdir(shared)
                raise
            if lock is None:
                raise PathError(
                    f"another process has kept {shared} locked for {_WAIT_S:.0f} s: wait"
                )
            return lock


def _is_ours(shared: Path) -> bool:
    """Returns whether a folder has our key, or is empty as ours is at its begin and its end."""
    if not stat.S_ISDIR(os.lstat(shared).st_mode):  # A symbolic link is none.
        return False
    names = os.listdir(shared)
    return not names or _KEY in names


def locked(path: Path, *, wait_s: float = 0.0) -> int | None:
    """Makes a lock file if it isn't there, and locks it for as long as this process lives.

    Returns:
        The open file; `UNLOCKED` where there are no locks; None if another process holds it.
    """
    end = time.monotonic() + wait_s
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if fcntl is None:
                return UNLOCKED
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:
                kept, file = file, UNLOCKED
                return kept
            # Its last holder removed it after it was opened here.
        except BlockingIOError:
            if time.monotonic() >= end:
                return None
            time.sleep(0.005)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return UNLOCKED
        finally:
            release(file)


def release(lock: int) -> None:
    """Closes a lock file, which unlocks it."""
    if lock != UNLOCKED:
        os.close(lock)


def _remove_abandoned(shared: Path) -> None:
    """Removes what no living process holds, but not the state of a run that can go on."""
    with os.scandir(shared) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith(_PART))
    for part in (shared / name for name in names):
        with contextlib.suppress(OSError):  # Perhaps another user's.
            if not (part / _KEY).exists():
                part.rmdir()  # Its process was killed before it had put anything in.
            elif (lock := locked(part / _KEY)) is not None:
                _remove_part(part)
                release(lock)
    with contextlib.suppress(OSError):
        if (shared / _RUN_LOCK).exists() and (lock := locked(shared / _RUN_LOCK)) is not None:
            _remove_run_lock(shared)
            release(lock)


def _remove_part(part: Path) -> None:
    """Removes a writer's part; its key goes last, so that a kill in between leaves it known."""
    if (part / "content").exists():
        shutil.rmtree(part / "content")
    (part / _KEY).unlink(missing_ok=True)
    part.rmdir()


def _remove_run_lock(shared: Path) -> None:
    (shared / _RUN_HOLDER).unlink(missing_ok=True)
    (shared / _RUN_LOCK).unlink(missing_ok=True)


def _remove_if_empty(shared: Path) -> None:
    """Removes a `.tfcompress` that holds nothing but its key."""
    with contextlib.suppress(OSError):
        if os.listdir(shared) != [_KEY]:
            return
        (shared / _KEY).unlink()
        try:
            shared.rmdir()
        except OSError:
            # Without locks another process may have come in.
            (shared / _KEY).touch()


def _write_holder(shared: Path) -> None:
    """Notes who holds the folder, for the line that another run is refused with."""
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    values = {"process": os.getpid(), "host": socket.gethostname(), "since": now}
    (shared / _RUN_HOLDER).write_text(json.dumps(values))


def _holder(shared: Path) -> str:
    """Says who holds the folder and since when, as far as that can be read."""
    try:
        values = read_json(shared / _RUN_HOLDER)
        process, host, since = int(values["process"]), str(values["host"]), str(values["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another process is writing"
    said = f"process {process} on host {host} has been writing since {since}"
    return said if said.isprintable() else "another process is writing"
