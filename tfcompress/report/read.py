"""Reads a run's report back from its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tfcompress.errors import InputError
from tfcompress.report.result import SCHEMA, RunResult

REPORT = "report.json"


def read_report(folder: str | os.PathLike[str]) -> RunResult:
    """Reads the result of a finished run.

    Args:
        folder: the run's output folder.

    Raises:
        InputError: the folder isn't a run's, the run isn't finished, or the report is broken or of
            another version.
    """
    folder = Path(folder)
    path = folder / REPORT
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: give the output folders of finished runs")
    if not path.is_file():
        raise InputError(f"{folder} has no report.json: it isn't the folder of a finished run")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} isn't valid JSON ({reason}): repeat the run") from error
    if not isinstance(values, dict) or not {"technique", "baseline", "compressed"} <= set(values):
        raise InputError(f"{path} isn't a run's report: give the output folders of finished runs")
    # The first version didn't say that it was.
    schema = values.get("schema", 1)
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema {schema!r} and this tfcompress reads {SCHEMA}: use the version "
            "that wrote it, or repeat the run"
        )
    try:
        return RunResult.from_json(values)
    except KeyError as error:
        raise InputError(f"{path} lacks {error}: repeat the run") from error
    except (TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} isn't a whole report ({reason}): repeat the run") from error
