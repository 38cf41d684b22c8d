"""Compares many runs in one table: training step, inference, size and accuracy.

The columns are those of table 2 of Rassadin and Savchenko 2017, "Deep neural networks
performance optimization in image recognition", and beside each the ratio to the run's own baseline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tfcompress.report.pareto import Point, front, tradeoffs
from tfcompress.report.picture import Picture
from tfcompress.report.render import csv_text, markdown_cell, render_template
from tfcompress.report.result import FileResult, RunResult
from tfcompress.report.table import MISSING, factor, kibibytes, milliseconds

NOTE = (
    "Ratios: compressed divided by the run's own baseline, below 1 is less; a latency's is "
    "measured with both files in turns. Training steps and latencies of different runs were taken "
    "at different times, and compare only as far as the machine was the same. -: not measured."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A file of a run. None stands for what wasn't measured.

    Attributes:
        number: the line's, by which pictures name it.
        run: the run's folder.
        technique: the one that made the file; `baseline` for an uncompressed one.
        model: the builder's name or the user's file.
        dataset: the data set's name.
        seed: the run's.
        train_step_ms: median time of a training step.
        latency_ms: median time of an inference.
        size_bytes: size of the file.
        accuracy: 0 to 1.
        latency_ratio: the time of an inference divided by that of the run's own baseline's,
            measured in turns.
        size_ratio: the same of the size.
        accuracy_change_points: the accuracy minus the baseline's, in percentage points.
        baseline: whether the file is an uncompressed one.
    """

    number: int = 0
    run: str
    technique: str
    model: str
    dataset: str
    seed: int
    train_step_ms: float | None
    latency_ms: float | None
    size_bytes: int
    accuracy: float
    latency_ratio: float | None = None
    size_ratio: float | None = None
    accuracy_change_points: float | None = None
    baseline: bool = False


# What lines can be sorted by, and whether a larger value comes first.
SORTS: dict[str, tuple[Callable[[Line], float | str | None], bool]] = {
    "accuracy": (lambda line: line.accuracy, True),
    "latency": (lambda line: line.latency_ms, False),
    "latency_ratio": (lambda line: line.latency_ratio, False),
    "size": (lambda line: line.size_bytes, False),
    "technique": (lambda line: line.technique, False),
    "train_step": (lambda line: line.train_step_ms, False),
}
# Header and key of a column, and its text for people and its value for CSV.
_COLUMNS: tuple[tuple[str, str, Callable[[Line], str], Callable[[Line], object]], ...] = (
    ("no.", "number", lambda line: str(line.number), lambda line: line.number),
    ("technique", "technique", lambda line: line.technique, lambda line: line.technique),
    ("model", "model", lambda line: line.model, lambda line: line.model),
    ("data set", "dataset", lambda line: line.dataset, lambda line: line.dataset),
    ("seed", "seed", lambda line: str(line.seed), lambda line: line.seed),
    ("train step, ms", "train_step_ms", lambda line: milliseconds(line.train_step_ms),
     lambda line: line.train_step_ms),
    ("inference, ms", "latency_ms_p50", lambda line: milliseconds(line.latency_ms),
     lambda line: line.latency_ms),
    ("size, KiB", "size_bytes", lambda line: kibibytes(line.size_bytes),
     lambda line: line.size_bytes),
    ("accuracy, %", "accuracy", lambda line: f"{100 * line.accuracy:.2f}",
     lambda line: line.accuracy),
    ("inference ratio", "latency_ratio", lambda line: factor(line.latency_ratio),
     lambda line: line.latency_ratio),
    ("size ratio", "size_ratio", lambda line: factor(line.size_ratio),
     lambda line: line.size_ratio),
    ("accuracy, points", "accuracy_change_points", lambda line: _points(line),
     lambda line: line.accuracy_change_points),
)  # fmt: skip
_TEXT = 4  # The columns before the first number.
_SAME = (2, 3, 4)  # Model, data set and seed.


def lines(runs: Sequence[tuple[str, RunResult]], sort: str | None = None) -> list[Line]:
    """Lists each run's files, and each baseline once.

    Runs with the same model, data set and seed have the same baseline if its file is as large and
    as accurate; its times are then those of the first run that has any.

    Args:
        runs: folder and result.
        sort: one of `SORTS`; lines without that number come last. By default as given, each
            baseline before the first run that has it.
    """
    listed: list[Line] = []
    baselines: dict[tuple[object, ...], int] = {}
    for folder, result in runs:
        before = result.baseline
        line = _line(folder, result, before)
        line = dataclasses.replace(line, technique="baseline", baseline=True)
        key = (result.model, result.dataset, result.seed, before.size_bytes, before.accuracy)
        if key not in baselines:
            baselines[key] = len(listed)
            listed.append(line)
        elif listed[baselines[key]].latency_ms is None:
            listed[baselines[key]] = line
        for file in result.files:
            line = _line(folder, result, file)
            several = len(result.files) > 1
            listed.append(
                dataclasses.replace(
                    line,
                    technique=f"{line.technique} as {file.storage}" if several else line.technique,
                    latency_ratio=file.latency_ratio,
                    size_ratio=result.ratio_of(file)["size"],
                    accuracy_change_points=result.accuracy_change_of(file),
                )
            )
    if sort is not None:
        listed = _sorted(listed, sort)
    return [dataclasses.replace(line, number=at) for at, line in enumerate(listed, start=1)]


def _sorted(lines: list[Line], sort: str) -> list[Line]:
    """Sorts lines by one of `SORTS`; lines without that value come last."""
    value, largest_first = SORTS[sort]
    known = [line for line in lines if value(line) is not None]
    known.sort(key=value, reverse=largest_first)  # type: ignore[arg-type]
    return known + [line for line in lines if value(line) is None]


def _line(folder: str, result: RunResult, file: FileResult) -> Line:
    """Makes the line of a run's file, without ratios."""
    return Line(
        run=folder,
        technique=result.technique,
        model=result.model,
        dataset=result.dataset,
        seed=result.seed,
        train_step_ms=file.train_step_ms,
        latency_ms=file.latency_ms_p50,
        size_bytes=file.size_bytes,
        accuracy=file.accuracy,
    )


def markdown(lines: Sequence[Line]) -> str:
    """Writes the lines as a Markdown table."""
    headers = [header for header, *_ in _COLUMNS]
    rules = ["---" if 0 < at < _TEXT else "---:" for at in range(len(headers))]
    rows = [headers, rules, *([markdown_cell(c) for c in _cells(line)] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{NOTE}\n"


def comma_separated(lines: Sequence[Line]) -> str:
    """Writes the lines as CSV, with the run's folder; what wasn't measured is left empty."""
    header = [*(key for _, key, *_ in _COLUMNS), "run"]
    return csv_text(
        [header, *([*(value(line) for *_, value in _COLUMNS), line.run] for line in lines)]
    )


def html(lines: Sequence[Line]) -> str:
    """Writes the lines as a self-contained page, with a picture of cost against accuracy."""
    # What is the same in all lines is said once: a screen is narrow.
    common = [at for at in _SAME if len({_cells(line)[at] for line in lines}) == 1]
    shown = [at for at in range(len(_COLUMNS)) if at not in common]
    return render_template(
        "compare.html.j2",
        autoescape=True,
        headers=[_COLUMNS[at][0] for at in shown],
        rows=[[_cells(line)[at] for at in shown] for line in lines],
        text_columns=sum(at < _TEXT for at in shown),
        common=", ".join(f"{_COLUMNS[at][0]} {_cells(lines[0])[at]}" for at in common),
        headline=headline(lines),
        picture=picture(lines),
        runs=[(line.number, line.technique, line.run) for line in lines if not line.baseline],
        note=NOTE,
    )


def picture(lines: Sequence[Line]) -> Picture:
    """Draws size and latency against accuracy; latency if two files or more were timed.

    Accuracies on different data sets aren't compared: each has panels of its own.
    """
    sets = _by_dataset(lines)
    panels = [
        (title if len(sets) == 1 else f"{title}, {name}", _points_of(files, value))
        for name, files in sets.items()
        for title, value in (("file size, KiB", _kibibytes), ("latency median, ms", _latency))
    ]
    return tradeoffs([(title, points) for title, points in panels if len(points) > 1])


def headline(lines: Sequence[Line]) -> str:
    """Says which files no other is both smaller and more accurate than, for each data set."""
    return " ".join(
        f"Of {len(files)} files on {name}, none is both smaller and more accurate than "
        + ", ".join(
            f"{p.name} ({100 * p.accuracy:.2f}%)" for p in front(_points_of(files, _kibibytes))
        )
        + "."
        for name, files in _by_dataset(lines).items()
    )


def _by_dataset(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Groups lines by their data set."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.dataset, []).append(line)
    return groups


def _points_of(lines: Sequence[Line], cost: Callable[[Line], float | None]) -> list[Point]:
    """Makes points of the lines whose cost is known."""
    return [
        Point(str(line.number), f"{line.number} {line.technique}", value, line.accuracy,
              line.baseline)
        for line in lines
        if (value := cost(line)) is not None
    ]  # fmt: skip


def _kibibytes(line: Line) -> float:
    """Returns a file's size in KiB."""
    return line.size_bytes / 1024


def _latency(line: Line) -> float | None:
    """Returns a file's latency in milliseconds, if it was measured."""
    return line.latency_ms


def _cells(line: Line) -> list[str]:
    """Writes a line's cells for people."""
    return [text(line) for _, _, text, _ in _COLUMNS]


def _points(line: Line) -> str:
    """Writes a change of accuracy in percentage points."""
    change = line.accuracy_change_points
    return MISSING if change is None else f"{change:+.2f}"
