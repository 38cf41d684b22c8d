"""What the experiments share: rows that keep when, where and by what each was measured.

An experiment calls `parser` for its flags and `conduct` with its plan, and has a function `page_of`
that makes the page from the rows alone. So a page can be rendered again anytime: by the
experiment's `--render`, or, of several folders at once, by

    .venv/bin/python experiments/measurements.py experiments/results/* tflite_models

Every experiment that times nothing takes `--workers=2`, and `--study` for several machines.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import cells
from cells import Row, Step
from page import Page, text_of

from tfcompress.benchmark.machine import machine
from tfcompress.commands import print_error
from tfcompress.errors import InputError, PathError
from tfcompress.files import write
from tfcompress.pipeline.provenance import versions

FILE = "runs.json"
PYTHON = ".venv/bin/python"
# What of the machine's description stands in a record.
MACHINE = ("cpu", "features", "int8_dot_product", "cores", "cores_total", "commit")


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
        """Keeps one row, as `put_all` does."""
        self.put_all({key: row}, made)

    def put_all(self, rows: Mapping[str, Mapping[str, Any]], made: Mapping[str, Any]) -> None:
        """Keeps rows and writes the file, with what other processes have written meanwhile.

        Args:
            rows: numbers and words by key; an older one of a key goes. A row's own `made` comes
                before the argument.
            made: the record of this measurement.
        """
        with cells.alone(self.folder / cells.CLAIMS / "rows"):
            self.take_in()
            for key, row in rows.items():
                self._add(key, row, made)
            write(self.folder / FILE, self._as_json() + "\n")

    def take_in(self) -> None:
        """Takes in the rows of these settings that other processes have written."""
        written = Measurements(self.folder)
        if written.settings == self.settings:
            for key, row in written.rows.items():
                self._add(key, row, written.made[row["made"]])

    def _add(self, key: str, row: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        own = row.get("made")
        record = dict(own if isinstance(own, Mapping) else made)
        if record not in self.made:
            self.made.append(record)
        self.rows[key] = {"made": self.made.index(record), **_without_made(row)}

    def drop(self, keys: Iterable[str]) -> None:
        """Forgets rows and writes the file."""
        for key in keys:
            del self.rows[key]
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


class _Parser(argparse.ArgumentParser):
    """Says in one line what was wrong."""

    def error(self, message: str) -> NoReturn:
        print_error(InputError(f"{message}; --help explains the flags"))
        sys.exit(2)


def parser(doc: str) -> argparse.ArgumentParser:
    """Returns a parser with the flags of every experiment.

    Args:
        doc: the experiment's docstring, whose first line says what it does.
    """
    flags = _Parser(description=doc.splitlines()[0])
    flags.add_argument("--output", type=Path, required=True, help="folder for page and results")
    flags.add_argument("--again", action="store_true", help="measure what is there once more")
    flags.add_argument("--render", action="store_true", help="measure nothing; write the page")
    flags.add_argument(
        "--workers", type=_workers, default=1, help="processes on this machine that share the rows"
    )
    flags.add_argument(
        "--study",
        help="a database by which machines share the rows, as in postgresql+psycopg://me@host/name;"
        " the same command is started on each",
    )
    flags.add_argument("--batch", help=argparse.SUPPRESS)  # Of a worker.
    return flags


def _workers(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"it takes a number from 1 on; got '{text}'")
    return int(text)


def command(**shown: object) -> str:
    """Returns the command that is running, from the repository's root, with a kernel forced on it.

    Args:
        shown: flags that are printed with another value, since theirs names a private folder.
    """
    words = [PYTHON, *sys.argv]
    for flag, value in shown.items():
        words = [f"--{flag}={value}" if word.startswith(f"--{flag}=") else word for word in words]
    if any(word.startswith("--study=") for word in words):
        words = [word if not word.startswith("--study=") else "--study=URL" for word in words]
    left_out = ("--again", "--batch=")
    text = shlex.join(word for word in words if not word.startswith(left_out))
    kernel = os.environ.get("TFCOMPRESS_KERNEL")
    return f"TFCOMPRESS_KERNEL={kernel} {text}" if kernel else text


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
    timed: bool = True,
) -> None:
    """Measures what isn't there yet, or all with `--again`, and writes the page.

    A wrong request ends the process with one line and status 2.

    Args:
        flags: of `parser`.
        steps: what to measure.
        page_of: makes the page from the rows.
        settings: what all rows are measured with; those that are there must agree.
        made: gives the record of a measurement.
        timed: whether times are taken, which nothing may disturb: such rows aren't shared among
            processes. What `tfcompress.run` times waits for others by itself.
    """
    kept = Measurements(flags.output)
    try:
        if flags.render:
            if not kept.rows:
                raise InputError(f"{flags.output / FILE} holds no rows to render")
        else:
            shared = flags.workers > 1 or flags.study is not None
            if timed and shared:
                raise InputError(
                    "this experiment takes times, which other work would disturb: leave --workers "
                    "and --study out"
                )
            _measure(kept, flags, steps, dict(settings or {}), made)
    except (InputError, PathError) as error:
        print_error(error)
        sys.exit(2)
    except cells.FailedError as error:
        print_error(error)
        sys.exit(1)
    if flags.batch is None:
        kept.write_page(page_of(kept))


def _measure(
    kept: Measurements,
    flags: argparse.Namespace,
    steps: Sequence[Step],
    settings: dict[str, Any],
    made: Callable[[], Mapping[str, Any]],
) -> None:
    """Measures the steps of which a row is missing; all of them if asked to."""
    kept.experiment = Path(sys.argv[0]).stem
    settings = json.loads(json.dumps(settings))  # As they are read.
    folder, again, batch = kept.folder, flags.again, flags.batch
    every = steps
    if batch is None:
        steps = _missing(kept, steps, settings, again)
    kept.settings = settings

    def is_done(keys: Sequence[str]) -> bool:
        if again:
            # Of a process by itself nothing is done yet.
            shared = batch is not None or flags.workers > 1
            return shared and cells.note_done(folder, keys).exists()
        kept.take_in()
        return all(key in kept for key in keys)

    def measured(step: Step) -> tuple[Mapping[str, Row], Mapping[str, Any]]:
        record = made()  # Before: the sources may change while it is measured.
        rows = step[1]()
        for key in step[0]:
            print(f"{key}: {rows[key]}", flush=True)
        return {key: rows[key] for key in step[0]}, record

    def measure(step: Step) -> None:
        kept.put_all(*measured(step))
        if again and batch is not None:
            cells.note_done(folder, step[0]).touch()

    study = None
    if flags.study is not None:
        from studies import CellStudy, study_name  # Others need no database.

        if again:
            raise InputError("a study keeps its rows: leave --again or --study out")
        # Before the workers do: some databases don't bear that several make their tables at once.
        study = CellStudy(flags.study, study_name(kept.experiment, every, settings))
    if batch is None and flags.workers > 1:
        # Rows of other settings go here, once, and not in each of the workers.
        kept.put_all({}, {})
        cells.by_workers(folder, steps, is_done, flags.workers)
    elif study is not None:
        study.run(every, measured)
        for rows, record in study.rows().values():
            kept.put_all(rows, record)
    else:
        cells.share(folder, steps, is_done, measure, batch=batch)
    kept.take_in()


def _missing(
    kept: Measurements, steps: Sequence[Step], settings: Mapping[str, Any], again: bool
) -> Sequence[Step]:
    """Returns the steps of which a row is missing, or all of them, and says what is there.

    Raises:
        InputError: none is missing, or the rows that are there are of other settings.
    """
    path = kept.folder / FILE
    keys = [key for step, _ in steps for key in step]
    other = "give another --output, or measure everything again by --again"
    if kept.rows and kept.settings != settings:
        if not again or set(kept.rows) - set(keys):
            raise InputError(f"{path} was measured with {kept.settings}, not {settings}; {other}")
        kept.rows.clear()
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
    return todo


def rendered(folder: Path) -> str:
    """Returns the text of a folder's page, from its rows."""
    kept = Measurements(folder)
    experiment = importlib.import_module(kept.experiment)
    return text_of(experiment.page_of(kept), kept.records)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name) / "README.md", rendered(Path(name)))
