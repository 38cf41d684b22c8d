"""Keeps trainings still while a file is timed, in all processes of this user on this machine."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: times are taken beside whatever else runs.
    fcntl = None  # type: ignore[assignment]

from tfcompress.files import user_cache

# Set in a process whose runs and those beside it take turns.
ASKED = "TFCOMPRESS_TAKE_TURNS"


class Turns:
    """Lets one process time files while those that train wait at the end of their steps.

    Two locks are needed, since a waiting process isn't preferred to those that come later: whoever
    times holds `gate`, which all pass before their next step, and then waits for `training` until
    the last of them has come to the end of its step.

    Args:
        folder: of the locks; None for the user's cache.
        alone: whether nobody is to wait for anybody.
    """

    def __init__(self, folder: Path | None = None, *, alone: bool = False) -> None:
        self._files: dict[str, int] = {}
        if fcntl is None or alone:
            return
        folder = user_cache() if folder is None else folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("gate", "training"):
            path = folder / f"search-{name}.lock"
            self._files[name] = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def _lock(self, name: str, kind: str) -> None:
        if fcntl is not None and self._files:
            fcntl.flock(self._files[name], getattr(fcntl, f"LOCK_{kind}"))

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Holds a place among those that train; `pause` within it lets others time."""
        self._enter()
        try:
            yield
        finally:
            self._lock("training", "UN")

    def pause(self) -> None:
        """Waits, at the end of a step, while another process times files."""
        self._lock("training", "UN")
        self._enter()

    def _enter(self) -> None:
        self._lock("gate", "SH")
        self._lock("training", "SH")
        self._lock("gate", "UN")

    @contextlib.contextmanager
    def timing(self) -> Iterator[None]:
        """Waits until nobody trains, and keeps all from it within the block."""
        self._lock("gate", "EX")
        try:
            self._lock("training", "EX")
            yield
        finally:
            self._lock("training", "UN")
            self._lock("gate", "UN")

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            os.close(file)
        self._files = {}


@functools.cache
def turns_of_run() -> Turns:
    """Returns the locks of this process's runs, which wait for others only where that is asked."""
    return Turns(alone=not os.environ.get(ASKED))
