"""Starts processes that share work on this machine, and replaces those that die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tfcompress import turns
from tfcompress.errors import InputError

# A worker that died is started again, so many times in all.
_RESTARTS = 5
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def run_workers(words: Sequence[str], count: int) -> None:
    """Starts the same command several times, each with its share of the cores, and waits for all.

    Ended itself, by an exception, Ctrl-C or SIGTERM, it ends them first.

    Runs of `tfcompress.run` in them let one another time their files undisturbed.

    Args:
        words: of the command, which ends when no work is left, and can be ended and begun anew
            anywhere.
        count: how many.

    Raises:
        InputError: one was given what can't be used, or too many died; they have said why.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = max((cores or 1) // count, 1)
    environment = os.environ | dict.fromkeys(_THREADS, str(threads)) | {turns.ASKED: "1"}

    def start() -> subprocess.Popen[Any]:
        return subprocess.Popen(list(words), env=environment)

    _say(f"{count} processes, {threads} threads each")
    with _raising_at_sigterm():
        _keep_running(start, count)


def _keep_running(start: Callable[[], subprocess.Popen[Any]], count: int) -> None:
    """Starts so many processes, others in place of those that die, and waits for all."""
    running = [start() for _ in range(count)]
    restarts = 0
    try:
        while running:
            process = running[0]
            try:
                status = process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                running.append(running.pop(0))
                continue
            running.remove(process)
            if status == 0:
                continue
            restarts += 1
            if restarts > _RESTARTS or status == 2:
                raise InputError(f"a worker ended with status {status}; what it said stands above")
            _say(f"one ended with status {status}; another takes its place")
            running.append(start())
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


@contextlib.contextmanager
def _raising_at_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the block by an exception, as Ctrl-C does, and not the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    """Prints a line as `training.progress.say` does, without Keras."""
    print(f"{'workers':<10} {text}", flush=True)
