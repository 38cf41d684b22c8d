"""What the experiments share: rows that keep when, where and by what each was measured.

An experiment calls `parser` for its flags and `conduct` with its plan, and has a function `page_of`
that makes the page from the rows alone. So a page can be rendered again anytime: by the
experiment's `--render`, or, of several folders at once, by

    .venv/bin/python experiments/measurements.py experiments/results/* tflite_models
"""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from page import Page, text_of

from tfcompress.benchmark.machine import machine
from tfcompress.commands import print_error
from tfcompress.errors import InputError
from tfcompress.files import write
from tfcompress.pipeline.provenance import versions

FILE = "runs.json"
PYTHON = ".venv/bin/python"
# What of the machine's description stands in a record.
MACHINE = ("cpu", "features", "int8_dot_product", "cores", "cores_total", "commit")
Row = dict[str, Any]
# Keys that are measured together, and what measures them.
Step = tuple[tuple[str, ...], Callable[[], Mapping[str, Row]]]


class Measurements:
    """The rows of one folder, by key; each names the record of its own measurement.

    Args:
        folder: of `runs.json`, which need not be there.

    Attributes:
        rows: results by key; under `made` the number of the record in `made`.
        made: where rows come from: `date`, `versions`, `command` and what `MACHINE` names, as far
            as they are known; of older rows `committed`, the commit that brought them; `remark`,
            what else must be known.
        settings: what all rows were measured with.
        experiment: the module that measured them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / FILE
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.rows: dict[str, Row] = stored.get("rows", {})
        self.made: list[dict[str, Any]] = stored.get("made", [])
        self.settings: dict[str, Any] = stored.get("settings", {})
        self.experiment: str = stored.get("experiment", "")

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def __getitem__(self, key: str) -> Row:
        return self.rows[key]

    def put(self, key: str, row: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """Keeps one row and writes the file.

        Args:
            key: of the row; an older one of this name goes.
            row: numbers and words; its own `made` comes before the argument.
            made: the record of this measurement.
        """
        record = dict(row.get("made", made))
        if record not in self.made:
            self.made.append(record)
        self.rows[key] = {"made": self.made.index(record), **_without_made(row)}
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / FILE, self._as_json() + "\n")

    def records(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """Returns the records of rows, each once."""
        return [self.made[n] for n in dict.fromkeys(self.rows[key]["made"] for key in keys)]

    def write_page(self, page: Page) -> None:
        """Writes `README.md` into the folder, and prints it."""
        text = text_of(page, self.records)
        write(self.folder / "README.md", text)
        print(text)

    def _as_json(self) -> str:
        """Returns the file's text; records of rows that were measured again are dropped."""
        numbers = sorted({row["made"] for row in self.rows.values()})
        rows = {
            key: {"made": numbers.index(row["made"]), **_without_made(row)}
            for key, row in self.rows.items()
        }
        made = [self.made[number] for number in numbers]
        self.rows, self.made = rows, made
        stored = {
            "experiment": self.experiment,
            "settings": self.settings,
            "made": made,
            "rows": rows,
        }
        return json.dumps(stored, indent=1)


def _without_made(row: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if name != "made"}


def parser(doc: str) -> argparse.ArgumentParser:
    """Returns a parser with the flags of every experiment.

    Args:
        doc: the experiment's docstring, whose first line says what it does.
    """
    flags = argparse.ArgumentParser(description=doc.splitlines()[0])
    flags.add_argument("--output", type=Path, required=True, help="folder for page and results")
    flags.add_argument("--again", action="store_true", help="measure what is there once more")
    flags.add_argument("--render", action="store_true", help="measure nothing; write the page")
    return flags


def command(**shown: object) -> str:
    """Returns the command that is running, from the repository's root.

    Args:
        shown: flags that are printed with another value, since theirs names a private folder.
    """
    words = [PYTHON, *sys.argv]
    for flag, value in shown.items():
        words = [f"--{flag}={value}" if word.startswith(f"--{flag}=") else word for word in words]
    return shlex.join(word for word in words if word != "--again")


def made_here(**shown: object) -> dict[str, Any]:
    """Returns the record of a measurement of today, on this machine.

    Args:
        shown: as `command` takes it.
    """
    here = machine()
    known = {name: here[name] for name in MACHINE if here.get(name) is not None}
    return {
        "date": time.strftime("%Y-%m-%d"),
        **known,
        "versions": versions(),
        "command": command(**shown),
    }


def single(key: str, function: Callable[..., Row], *args: Any) -> Step:
    """Returns the step that measures one row by `function(*args)`."""
    return (key,), lambda: {key: function(*args)}


def conduct(
    flags: argparse.Namespace,
    steps: Sequence[Step],
    page_of: Callable[[Measurements], Page],
    *,
    settings: Mapping[str, Any] | None = None,
    made: Callable[[], Mapping[str, Any]] = made_here,
) -> None:
    """Measures what isn't there yet, or all with `--again`, and writes the page.

    A wrong request ends the process with one line and status 2.

    Args:
        flags: of `parser`.
        steps: what to measure.
        page_of: makes the page from the rows.
        settings: what all rows are measured with; those that are there must agree.
        made: gives the record of a measurement.
    """
    kept = Measurements(flags.output)
    try:
        if flags.render:
            if not kept.rows:
                raise InputError(f"{flags.output / FILE} holds no rows to render")
        else:
            _measure(kept, flags.again, steps, dict(settings or {}), made)
    except InputError as error:
        print_error(error)
        sys.exit(2)
    kept.write_page(page_of(kept))


def _measure(
    kept: Measurements,
    again: bool,
    steps: Sequence[Step],
    settings: dict[str, Any],
    made: Callable[[], Mapping[str, Any]],
) -> None:
    """Measures the steps of which a row is missing; all of them if `again`."""
    kept.experiment = Path(sys.argv[0]).stem
    path = kept.folder / FILE
    keys = [key for step, _ in steps for key in step]
    other = "give another --output, or measure everything again by --again"
    if kept.rows and kept.settings != settings:
        if not again or set(kept.rows) - set(keys):
            raise InputError(f"{path} was measured with {kept.settings}, not {settings}; {other}")
        kept.rows.clear()
    kept.settings = settings
    there = [key for key in keys if key in kept]
    dates = ", ".join(sorted({record["date"] for record in kept.records(there)}))
    todo = [step for step in steps if again or not all(key in kept for key in step[0])]
    if not todo:
        raise InputError(
            f"{path} holds all {len(keys)} rows, measured {dates}; --render writes the page from "
            f"them, --again measures them once more, another --output keeps them"
        )
    if there and again:
        print(f"measures {len(keys)} rows again; {path} holds {len(there)} of {dates}", flush=True)
    elif there:
        missing = len(keys) - len(there)
        print(f"goes on: {path} holds {len(there)} rows of {dates}, {missing} are missing")
    for step, measure in todo:
        record = made()  # Before: the sources may change while it is measured.
        rows = measure()
        for key in step:
            kept.put(key, rows[key], record)
            print(f"{key}: {rows[key]}", flush=True)


def rendered(folder: Path) -> str:
    """Returns the text of a folder's page, from its rows."""
    kept = Measurements(folder)
    experiment = importlib.import_module(kept.experiment)
    return text_of(experiment.page_of(kept), kept.records)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name) / "README.md", rendered(Path(name)))
