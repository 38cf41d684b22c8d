"""Compares many runs in one table: training step, inference, size and accuracy.

The columns are those of table 2 of Rassadin and Savchenko 2017, "Deep neural networks
performance optimization in image recognition", and beside each the ratio to the run's own baseline.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfcompress.metric import ACCURACY, Metric
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
UNRECORDED = "features not recorded"


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
        accuracy: 0 to 1; of a run that is judged by another metric, that.
        metric: which it is.
        latency_ratio: the time of an inference divided by that of the run's own baseline's,
            measured in turns.
        size_ratio: the same of the size.
        accuracy_change_points: the accuracy minus the baseline's, in percentage points.
        metric_change_percent: of a metric that is no share, its change in percent.
        baseline: whether the file is an uncompressed one.
        processor: the processor of the latency and what it can do, in the report's words.
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
    metric: Metric = ACCURACY
    latency_ratio: float | None = None
    size_ratio: float | None = None
    accuracy_change_points: float | None = None
    metric_change_percent: float | None = None
    baseline: bool = False
    processor: str = ""


# What lines can be sorted by, and whether a larger value comes first. Of lines with different
# metrics the best comes first within each.
SORTS: dict[str, tuple[Callable[[Line], Any], bool]] = {
    "accuracy": (lambda line: _worth(line), True),
    "latency": (lambda line: line.latency_ms, False),
    "latency_ratio": (lambda line: line.latency_ratio, False),
    "size": (lambda line: line.size_bytes, False),
    "technique": (lambda line: line.technique, False),
    "train_step": (lambda line: line.train_step_ms, False),
}
# Header and key of a column, and its text for people and its value for CSV.
_Column = tuple[str, str, Callable[[Line], str], Callable[[Line], object]]
_ABOUT: tuple[_Column, ...] = (
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
)  # fmt: skip
_RATIOS: tuple[_Column, ...] = (
    ("inference ratio", "latency_ratio", lambda line: factor(line.latency_ratio),
     lambda line: line.latency_ratio),
    ("size ratio", "size_ratio", lambda line: factor(line.size_ratio),
     lambda line: line.size_ratio),
)  # fmt: skip
_CHANGE: _Column = (
    "accuracy, points",
    "accuracy_change_points",
    lambda line: _points(line),
    lambda line: line.accuracy_change_points,
)
_ACCURACY: _Column = (
    "accuracy, %",
    "accuracy",
    lambda line: f"{100 * line.accuracy:.2f}",
    lambda line: line.accuracy,
)
# Where a run is judged by something else than accuracy.
_METRIC: tuple[_Column, ...] = (
    ("metric", "metric", lambda line: line.metric.name, lambda line: line.metric.name),
    ("value", "accuracy", lambda line: line.metric.text(line.accuracy),
     lambda line: line.accuracy),
)  # fmt: skip
_CHANGES: tuple[_Column, ...] = (
    ("change, points", *_CHANGE[1:]),
    ("change, %", "metric_change_percent", lambda line: _signed(line.metric_change_percent),
     lambda line: line.metric_change_percent),
)  # fmt: skip
_TEXT = 4  # The columns before the first number.
_SAME = (2, 3, 4)  # Model, data set and seed.


def _columns(lines: Sequence[Line]) -> tuple[_Column, ...]:
    """Returns the columns: of accuracy alone where all lines are judged by it."""
    if all(line.metric == ACCURACY for line in lines):
        return (*_ABOUT, _ACCURACY, *_RATIOS, _CHANGE)
    changes = [column for column in _CHANGES if any(column[3](line) is not None for line in lines)]
    return (*_ABOUT, *_METRIC, *_RATIOS, *changes)


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
                    metric_change_percent=None if result.metric.share else result.change_of(file),
                )
            )
    if sort is not None:
        listed = _sorted(listed, sort)
    return [dataclasses.replace(line, number=at) for at, line in enumerate(listed, start=1)]


def _sorted(lines: list[Line], sort: str) -> list[Line]:
    """Sorts lines by one of `SORTS`; lines without that value come last."""
    value, largest_first = SORTS[sort]
    known = [line for line in lines if value(line) is not None]
    known.sort(key=value, reverse=largest_first)
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
        metric=result.metric,
        processor=_processor(result.machine),
    )


def _processor(machine: Mapping[str, Any]) -> str:
    """Names a processor and its features; reports of before 2026-11-21 have none of the latter."""
    features = machine.get("features")
    words = UNRECORDED if features is None else ", ".join(features) or "no vector instructions"
    return f"{machine.get('cpu') or 'an unnamed CPU'} ({words})"


def note(lines: Sequence[Line]) -> str:
    """Says what the ratios are, and on which processors the latencies were measured."""
    timed = [line for line in lines if line.latency_ms is not None]
    processors = list(dict.fromkeys(line.processor for line in timed))
    if not processors:
        return NOTE
    if len(processors) == 1:
        return f"{NOTE} Inferences on {processors[0]}."
    numbers = {
        name: ", ".join(str(line.number) for line in timed if line.processor == name)
        for name in processors
    }
    listed = "; ".join(f"no. {those} on {name}" for name, those in numbers.items())
    return f"{NOTE} Inferences: {listed}."


def markdown(lines: Sequence[Line]) -> str:
    """Writes the lines as a Markdown table."""
    columns = _columns(lines)
    headers = [header for header, *_ in columns]
    rules = ["---" if 0 < at < _TEXT else "---:" for at in range(len(headers))]
    rows = [headers, rules, *([markdown_cell(c) for c in _cells(line, columns)] for line in lines)]
    return (
        "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{markdown_cell(note(lines))}\n"
    )


def comma_separated(lines: Sequence[Line]) -> str:
    """Writes the lines as CSV, with the run's folder; what wasn't measured is left empty."""
    columns = _columns(lines)
    header = [*(key for _, key, *_ in columns), "run"]
    return csv_text(
        [header, *([*(value(line) for *_, value in columns), line.run] for line in lines)]
    )


def html(lines: Sequence[Line]) -> str:
    """Writes the lines as a self-contained page, with a picture of cost against accuracy."""
    # What is the same in all lines is said once: a screen is narrow.
    columns = _columns(lines)
    cells = [_cells(line, columns) for line in lines]
    common = [at for at in _SAME if len({row[at] for row in cells}) == 1]
    shown = [at for at in range(len(columns)) if at not in common]
    return render_template(
        "compare.html.j2",
        autoescape=True,
        headers=[columns[at][0] for at in shown],
        rows=[[row[at] for at in shown] for row in cells],
        text_columns=sum(at < _TEXT for at in shown),
        common=", ".join(f"{columns[at][0]} {cells[0][at]}" for at in common),
        metric=" and ".join(dict.fromkeys(line.metric.name for line in lines)),
        headline=headline(lines),
        picture=picture(lines),
        runs=[(line.number, line.technique, line.run) for line in lines if not line.baseline],
        note=note(lines),
    )


def picture(lines: Sequence[Line]) -> Picture:
    """Draws size and latency against accuracy; latency if two files or more were timed.

    Accuracies on different data sets aren't compared: each has panels of its own.
    """
    sets = _by_dataset(lines)
    panels = [
        (title if len(sets) == 1 else f"{title}, {name}", _points_of(files, value), metric)
        for (name, metric), files in sets.items()
        for title, value in (("file size, KiB", _kibibytes), ("latency median, ms", _latency))
    ]
    panels = [panel for panel in panels if len(panel[1]) > 1]
    return tradeoffs(
        [(title, points) for title, points, _ in panels],
        metrics=[metric for *_, metric in panels],
    )


def headline(lines: Sequence[Line]) -> str:
    """Says which files no other is both smaller and more accurate than, for each data set."""
    return " ".join(
        f"Of {len(files)} files on {name}, none is both smaller and "
        f"{'more accurate' if metric == ACCURACY else f'better by {metric.name}'} than "
        + ", ".join(
            f"{p.name} ({metric.axis_text(p.accuracy)}{'%' * metric.share})"
            for p in front(_points_of(files, _kibibytes), metric)
        )
        + "."
        for (name, metric), files in _by_dataset(lines).items()
    )


def _by_dataset(lines: Sequence[Line]) -> dict[tuple[str, Metric], list[Line]]:
    """Groups lines by their data set and metric."""
    groups: dict[tuple[str, Metric], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.dataset, line.metric), []).append(line)
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


def _cells(line: Line, columns: Sequence[_Column]) -> list[str]:
    """Writes a line's cells for people."""
    return [text(line) for _, _, text, _ in columns]


def _points(line: Line) -> str:
    """Writes a change of accuracy in percentage points."""
    return _signed(line.accuracy_change_points)


def _signed(change: float | None) -> str:
    """Writes a change."""
    return MISSING if change is None else f"{change:+.2f}"


def _worth(line: Line) -> tuple[str, float]:
    """Returns what sorts lines by accuracy: better ones are larger, by each metric apart."""
    metric = line.metric
    return metric.name, line.accuracy if metric.higher_is_better else -line.accuracy
