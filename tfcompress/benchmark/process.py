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
from collections.abc import Mapping
from typing import Any

import tfcompress


class BenchmarkError(RuntimeError):
    """A file could not be measured: its process crashed, failed or ran out of time.

    Attributes:
        outcome: `crashed`, `timeout`, or `unsupported` if the runtime said no.
        cause: the message without the file and the stage.
        file: the file at work; None if there was none, or several.
        stderr: what the process wrote to stderr.
    """

    def __init__(
        self,
        cause: str,
        *,
        where: str = "",
        outcome: str = "crashed",
        file: str | None = None,
        stderr: str = "",
    ) -> None:
        super().__init__(f"{where}: {cause}" if where else cause)
        self.outcome = outcome
        self.cause = cause
        self.file = file
        self.stderr = stderr


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
    return ask_aloud(request, timeout_s=timeout_s)[0]


def ask_aloud(
    request: dict[str, Any], *, timeout_s: float, environment: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """As `ask`, with what the process wrote to stderr.

    Args:
        request: see `tfcompress.benchmark.child`.
        timeout_s: seconds after which the process is killed.
        environment: variables to add to this process's.

    Returns:
        The answer's values and the text.

    Raises:
        BenchmarkError: as `ask`.
    """
    # The process must find the package even where it was imported through sys.path alone.
    root = str(pathlib.Path(tfcompress.__file__).resolve().parent.parent)
    search_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        child = subprocess.Popen(
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search_path, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise BenchmarkError(f"can't start a measuring process: {error}") from error
    late = False
    try:
        stdout, stderr = child.communicate(json.dumps(request).encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        late = True
        _kill(child)
        stdout, stderr = child.communicate()
    except BaseException:  # Ctrl-C: in a session of its own, the child didn't get it
        _kill(child)
        child.wait()
        raise
    last, text = _last_message(stdout), stderr.decode("utf-8", "replace")
    if "answer" in last:
        return dict(last["answer"]), text
    if late:
        cause = f"not done after {timeout_s:g} s; raise timeout_s or lower the number of runs"
        outcome = "timeout"
    elif "error" in last:
        cause, outcome = str(last["error"]), "unsupported"
    else:
        cause, outcome = _cause(child.returncode, text), "crashed"
    paths = request.get("paths") or []
    raise BenchmarkError(
        cause,
        where=_where(last, paths),
        outcome=outcome,
        file=last.get("file") or (paths[0] if len(paths) == 1 else None),
        stderr=text,
    )


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kills a child and whatever it started: those would keep its pipes open."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (AttributeError, OSError):  # no such call on Windows, or it ended just now
        child.kill()


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


def _where(last: dict[str, Any], paths: list[str]) -> str:
    """What the process was doing, and with which file."""
    file = last.get("file") or ", ".join(paths) or "no file"
    stage = last.get("stage", "start")
    return f"{file} (at {stage})"


def _cause(returncode: int, stderr: str) -> str:
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
    lines = [line.strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("INFO:", "I0000"))]
    return f"{cause}: {lines[-1][:300]}" if lines else cause
