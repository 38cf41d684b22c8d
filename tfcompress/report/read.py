"""Reads a run's report back from its folder."""

from __future__ import annotations

import os
from pathlib import Path

from tfcompress.bounded_json import read_json
from tfcompress.errors import InputError
from tfcompress.plain_text import one_line
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
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} isn't valid JSON ({one_line(error)}): repeat the run") from error
    if not isinstance(values, dict) or not {"technique", "baseline", "compressed"} <= set(values):
        raise InputError(f"{path} isn't a run's report: give the output folders of finished runs")
    # The first version didn't say that it was.
    schema = values.get("schema", 1)
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema {one_line(repr(schema), 40)} and this tfcompress reads {SCHEMA}: "
            "use the version that wrote it, or repeat the run"
        )
    try:
        return RunResult.from_json(values)
    except InputError as error:
        raise InputError(
            f"{path} isn't a whole report ({one_line(error)}): repeat the run"
        ) from error
