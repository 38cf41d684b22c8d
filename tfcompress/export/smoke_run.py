"""Runs a file once where it can do no harm."""

from __future__ import annotations

from pathlib import Path

from tfcompress.errors import ExportError
from tfcompress.runtime.process import Cost, ProcessError, cost


def smoke_run(path: Path, signature: str | None = None) -> Cost:
    """Loads a file and runs it once in a fresh process, before it may harm this one.

    Args:
        path: of the `.tflite`.
        signature: which one of a file with several.

    Raises:
        ExportError: the interpreter can't load or run it, or crashes.
    """
    try:
        return cost(path, signature=signature)
    except ProcessError as error:
        raise ExportError(
            f"the file doesn't run (at {error.last.get('stage', 'start')}): {error.cause}"
        ) from error
