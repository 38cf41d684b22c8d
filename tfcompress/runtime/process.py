"""Runs files in a process of their own.

Native code reads a `.tflite` file, and a bad one may crash it or keep it from returning. A fresh
process is also the only place where load time and peak memory are the file's alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tfcompress.bounded_json import parse_json
from tfcompress.errors import InputError, PlainError
from tfcompress.plain_text import one_line
from tfcompress.runtime.child import DEFAULTS
from tfcompress.tflite import header

# Seconds that a stranger's file may take to load and to run once.
CHECK_SECONDS = 60.0
# The memory that it may take: so much, for Python and the runtime, and so many times its size.
CHECK_BYTES = 4 * 2**30
CHECK_SIZES = 32
# The memory that such a process may have held of a file that this one then loads.
LOAD_BYTES = 512 * 2**20
# How lines begin that native code writes to stderr and that explain no crash.
_CHATTER = ("INFO:", "WARNING:", "I0000", "W0000", "\u2514", "error: XDG_")


class ProcessError(PlainError, RuntimeError):
    """A process crashed, failed or ran out of time.

    Attributes:
        last: its last message, which says what it was doing with which file.
        cause: why it gave no answer.
        stderr: what it wrote to stderr.
    """

    def __init__(
        self, last: dict[str, Any], cause: str, request: dict[str, Any], stderr: str = ""
    ) -> None:
        cause = one_line(cause)
        file = last.get("file") or ", ".join(request.get("paths") or []) or "no file"
        super().__init__(f"{file} (at {last.get('stage', 'start')}): {cause}")
        self.last = last
        self.cause = cause
        self.stderr = stderr


class ProcessTimeoutError(ProcessError):
    """A process ran out of time and was killed."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a file costs a fresh process.

    Attributes:
        load_ms: median time of a load, with the allocation of its tensors.
        peak_memory_bytes: the peak of a process that loads the file and runs it once, Python and
            the runtime included; None where the system doesn't say.
    """

    load_ms: float
    peak_memory_bytes: int | None


def command(module: str = "tfcompress.runtime.child") -> list[str]:
    """Returns the command that starts a process for files."""
    # -P: a file called numpy.py in the user's folder shouldn't stand in for the library.
    return [sys.executable, "-P", "-m", module]


def ask(
    request: dict[str, Any],
    *,
    timeout_s: float,
    arguments: Sequence[str] | None = None,
    title: str = "process",
) -> dict[str, Any]:
    """Sends one request to a fresh process and returns its answer.

    Args:
        request: see `tfcompress.runtime.child`.
        timeout_s: seconds after which the process is killed.
        arguments: the process's command line; None for `command()`.
        title: what errors call the process.

    Returns:
        The answer's values.

    Raises:
        ProcessError: the process crashed, reported an error, or ran out of time. The message names
            the file at work and the cause.
    """
    return ask_with_log(request, timeout_s=timeout_s, arguments=arguments, title=title)[0]


def ask_with_log(
    request: dict[str, Any],
    *,
    timeout_s: float,
    arguments: Sequence[str] | None = None,
    title: str = "process",
) -> tuple[dict[str, Any], str]:
    """Does what `ask` does, and also returns what the process wrote to stderr."""
    # The process must find the package even where it was imported through sys.path alone.
    root = str(pathlib.Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        child = subprocess.Popen(
            list(arguments) if arguments is not None else command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search_path},
            start_new_session=True,
        )
    except OSError as error:
        raise ProcessError({}, f"can't start a {title}: {error}", request) from error
    timed_out = False
    try:
        stdout, stderr = child.communicate(json.dumps(request).encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill(child)
        stdout, stderr = child.communicate()
    except BaseException:  # Ctrl-C: in a session of its own, the child didn't get it
        _kill(child)
        child.wait()
        raise
    last, text = _last_message(stdout), stderr.decode("utf-8", "replace")
    # However the process ended: native code may crash while it cleans up.
    if "answer" in last:
        return dict(last["answer"]), text
    if timed_out:
        raise ProcessTimeoutError(last, f"not done after {timeout_s:g} s", request, text)
    cause = last.get("error") or _cause(child.returncode, text, title)
    raise ProcessError(last, cause, request, text)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kills a process and those that it started, which would keep its pipes open."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (AttributeError, OSError):  # no such call on Windows, or it ended just now
        child.kill()


def check(
    path: str | os.PathLike[str],
    *,
    signature: str | None = None,
    timeout_s: float = CHECK_SECONDS,
    to_load: bool = False,
) -> str | None:
    """Loads and runs a file once in a process of its own, with limits on time and memory.

    A file that crashes, hangs or fills the memory doesn't take this process with it. That one came
    through is no proof that it is harmless: the other process may do whatever this user may, and
    another input, version or processor may take another way.

    Args:
        path: the file.
        signature: which of the file's signatures; None for the one that `load` would run.
        timeout_s: seconds after which the process is killed.
        to_load: whether this process will load it, too, and a file is refused that takes more
            memory than `LOAD_BYTES` and `CHECK_SIZES` times its size.

    Returns:
        None if the file ran, else the runtime's error, such as an op that it lacks.

    Raises:
        InputError: it isn't a `.tflite` file, it is cut short or corrupt, or it crashed the
            process, didn't come to an end or took too much memory.
    """
    file = header.checked_path(path)
    request = {**check_request([file.absolute()]), "signature": signature}
    try:
        answer = ask(request, timeout_s=timeout_s)
    except ProcessTimeoutError as error:
        raise InputError(
            f"{path} isn't loaded and run once after {timeout_s:g} s: it is corrupt or made to hang"
        ) from error
    except ProcessError as error:
        raise InputError(
            f"{path} is corrupt or made to crash: a process that tried it "
            f"({error.last.get('stage', 'start')}) ended: {error.cause}"
        ) from error
    message: str | None = answer["errors"][0]
    peak, most = answer.get("peak_memory_bytes"), LOAD_BYTES + CHECK_SIZES * file.stat().st_size
    if to_load and message is None and peak is not None and peak > most:
        raise InputError(
            f"{path} takes {peak / 2**20:,.0f} MiB to be loaded and run once, more than the "
            f"{most / 2**20:,.0f} that a file of its size may take: check=False loads it if it is "
            "your own"
        )
    if message is not None and message.startswith("ValueError"):  # It failed verification.
        raise header.corrupt(path, message.partition(": ")[2])
    return None if message is None else one_line(message)


def trial(path: pathlib.Path) -> str:
    """Says in a few words what `check` tries with a file."""
    limits = f"{CHECK_SECONDS:g} s"
    if sys.platform.startswith("linux"):  # Others don't hold a process to its memory.
        limits = f"{check_request([path])['memory_bytes'] / 2**30:.1f} GiB and {limits}"
    count = DEFAULTS["threads"]
    threads = f"{count} thread" + "s" * (count != 1)
    return (
        "run once on random inputs (integers wider than 8 bits: zeros) in a process of its own, "
        f"{limits} at most, {threads}"
    )


def check_request(paths: Sequence[pathlib.Path]) -> dict[str, Any]:
    """Makes the request that loads these files and runs each once, in one process."""
    largest = max(path.stat().st_size for path in paths)
    return {
        "task": "check",
        "paths": [str(path) for path in paths],
        "memory_bytes": CHECK_BYTES + CHECK_SIZES * largest,
    }


def cost(
    path: str | os.PathLike[str], *, signature: str | None = None, timeout_s: float = 120.0
) -> Cost:
    """Measures what a file costs a fresh process.

    Args:
        path: the file.
        signature: which of the file's signatures; None for the one that `load` would run.
        timeout_s: seconds after which the process is killed.

    Raises:
        ProcessError: the file can't be loaded or run, or crashed the process.
    """
    request = {
        "task": "memory",
        "paths": [os.path.abspath(path)],
        "threads": 1,
        "xnnpack": True,
        "seed": 0,
        "loads": 3,
        "signature": signature,
    }
    return Cost(**ask(request, timeout_s=timeout_s))


def _last_message(stdout: bytes) -> dict[str, Any]:
    """Returns the last message of the protocol; empty if there is none."""
    for line in reversed(stdout.decode("utf-8", "replace").splitlines()):
        try:
            message = parse_json(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            return message
    return {}


def _cause(returncode: int, stderr: str, title: str) -> str:
    """Says why a process gave no answer, from its exit status and its last line on stderr."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        cause = f"the {title} was killed by {name}"
        if name == "SIGKILL":
            cause += " (out of memory?)"
    else:
        cause = f"the {title} ended with exit status {returncode} and without an answer"
    lines = [line.strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith(_CHATTER)]
    return f"{cause}: {one_line(lines[-1], 200)}" if lines else cause
