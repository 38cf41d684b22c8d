"""Runs `tfcompress.benchmark.child` in a fresh process and says what became of it.

A `.tflite` file is native code's input: it may crash the process or never return. And a fresh
process is the only place where load time and peak memory are those of the file.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import tfcompress


class BenchmarkError(RuntimeError):
    """A file could not be measured: its process crashed, failed or ran out of time."""


def command() -> list[str]:
    """The command of a measuring process."""
    # -P: a file called numpy.py in the user's folder shouldn't stand in for the library.
    return [sys.executable, "-P", "-m", "tfcompress.benchmark.child"]


def ask(request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Sends one request to a fresh process and returns its answer.

    Args:
        request: see `tfcompress.benchmark.child`.
        timeout_s: seconds after which the process is killed.

    Returns:
        The answer's values.

    Raises:
        BenchmarkError: the process crashed, reported an error, or ran out of time. The message
            names the file at work and the cause.
    """
    # The process must find the package even where it was imported through sys.path alone.
    root = str(pathlib.Path(tfcompress.__file__).resolve().parent.parent)
    search_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command(),
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=timeout_s,
            env={**os.environ, "PYTHONPATH": search_path},
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        last = _last_message(expired.stdout or b"")
        raise BenchmarkError(
            f"{_where(last, request)}: not done after {timeout_s:g} s; raise timeout_s or lower "
            "the number of runs"
        ) from expired
    except OSError as error:
        raise BenchmarkError(f"can't start a measuring process: {error}") from error
    last = _last_message(done.stdout)
    if done.returncode == 0 and "answer" in last:
        return dict(last["answer"])
    if "error" in last:
        raise BenchmarkError(f"{_where(last, request)}: {last['error']}")
    raise BenchmarkError(f"{_where(last, request)}: {_cause(done.returncode, done.stderr)}")


def _last_message(stdout: bytes) -> dict[str, Any]:
    """The last whole line of the protocol; empty if there is none."""
    for line in reversed(stdout.decode("utf-8", "replace").splitlines()):
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            return message
    return {}


def _where(last: dict[str, Any], request: dict[str, Any]) -> str:
    """What the process was doing, and with which file."""
    file = last.get("file") or ", ".join(request.get("paths") or []) or "no file"
    stage = last.get("stage", "start")
    return f"{file} (at {stage})"


def _cause(returncode: int, stderr: bytes) -> str:
    """Why a process ended without an answer, from its exit status and its last line on stderr."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        cause = f"the measuring process was killed by {name}"
        if name == "SIGKILL":
            cause += " (out of memory?)"
    else:
        cause = f"the measuring process ended with exit status {returncode} and without an answer"
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("INFO:")]
    return f"{cause}: {lines[-1][:300]}" if lines else cause
