"""Sends requests to `tfcompress.benchmark.child`, each to a fresh process."""

from __future__ import annotations

from typing import Any

from tfcompress.errors import PlainError
from tfcompress.runtime import process
from tfcompress.runtime.process import ProcessError, ProcessTimeoutError


class BenchmarkError(PlainError, RuntimeError):
    """A file could not be measured: its process crashed, failed or ran out of time.

    Attributes:
        outcome: `crashed`, `timeout`, or `unsupported` if the runtime refused the file.
        cause: the message without the file and the stage.
        file: the file at work; None if there was none, or several.
        stderr: what the process wrote to stderr.
    """

    def __init__(self, error: ProcessError, paths: list[str]) -> None:
        text, cause = str(error), error.cause
        self.outcome = "unsupported" if "error" in error.last else "crashed"
        if isinstance(error, ProcessTimeoutError):
            self.outcome = "timeout"
            text += "; raise timeout_s or lower the number of runs"
        super().__init__(text)
        self.cause = cause
        self.file = error.last.get("file") or (paths[0] if len(paths) == 1 else None)
        self.stderr = error.stderr


def command() -> list[str]:
    """Returns the command that starts a measuring process."""
    return process.command("tfcompress.benchmark.child")


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
    return ask_with_log(request, timeout_s=timeout_s)[0]


def ask_with_log(request: dict[str, Any], *, timeout_s: float) -> tuple[dict[str, Any], str]:
    """Does what `ask` does, and also returns what the process wrote to stderr."""
    try:
        return process.ask_with_log(
            request, timeout_s=timeout_s, arguments=command(), title="measuring process"
        )
    except ProcessError as error:
        raise BenchmarkError(error, request.get("paths") or []) from error
