"""Compares a run's files row by row, for the console, Markdown and HTML alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tfcompress.console import table
from tfcompress.metric import ACCURACY, Metric
from tfcompress.report.file_result import FileResult
from tfcompress.report.result import RunResult, quotient

MISSING = "-"


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a row says of one compressed file, as text.

    Attributes:
        value: the file's value; `-` if it wasn't measured.
        change: the ratio (compressed divided by baseline) or, for the metric, its change.
    """

    value: str
    change: str


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the comparison, as text.

    Attributes:
        label: what is compared, with its unit.
        baseline: the baseline's value; `-` if it wasn't measured.
        cells: one for each compressed file.
    """

    label: str
    baseline: str
    cells: tuple[Cell, ...]


def _ratio(field: str) -> Callable[[FileResult, FileResult], str]:
    """Makes a function that divides a field of two files."""
    return lambda before, after: factor(quotient(getattr(after, field), getattr(before, field)))


# Label, the value's text, and the text of its change from the baseline's.
_Row = tuple[str, Callable[[FileResult], str], Callable[[FileResult, FileResult], str]]
# By their importance.
_COSTS: tuple[_Row, ...] = (
    ("file size, KiB", lambda file: kibibytes(file.size_bytes), _ratio("size_bytes")),
    ("after gzip, KiB", lambda file: kibibytes(file.gzip_bytes), _ratio("gzip_bytes")),
    ("packed as .tfz, KiB", lambda file: kibibytes(file.packed_bytes), _ratio("packed_bytes")),
    (
        "latency median, ms",
        lambda file: milliseconds(file.latency_ms_p50),
        lambda _, after: latency_change(after),
    ),
    (
        "latency 90th percentile, ms",
        lambda file: milliseconds(file.latency_ms_p90),
        _ratio("latency_ms_p90"),
    ),
    (
        "peak memory, MiB",
        lambda file: mebibytes(file.peak_memory_bytes),
        _ratio("peak_memory_bytes"),
    ),
    ("parameters", lambda file: whole(file.parameters), _ratio("parameters")),
    ("MACs, million", lambda file: millions(file.macs), _ratio("macs")),
    (
        "training step, ms",
        lambda file: milliseconds(file.train_step_ms),
        # Taken as each network was trained, perhaps hours apart: their ratio would be chance.
        lambda before, after: "",
    ),
)


def comparison(result: RunResult) -> list[Row]:
    """Compares the compressed files with the baseline, in rows by their importance."""
    before = result.baseline
    return [
        Row(
            label,
            value(before),
            tuple(Cell(value(file), change(before, file)) for file in result.files),
        )
        for label, value, change in (*worth_rows(result), *_COSTS)
    ]


def worth_rows(result: RunResult) -> list[_Row]:
    """Returns the rows on what the files are worth: the metric, and all others there are."""
    metric = result.metric

    def keras_change(before: FileResult, after: FileResult) -> str:
        if before.accuracy_keras is None or after.accuracy_keras is None:
            return MISSING
        change = metric.change(before.accuracy_keras, after.accuracy_keras)
        return MISSING if change is None else f"{change:+.2f}{metric.unit}"

    rows: list[_Row] = [
        (
            f"{metric.name} of the file",
            lambda file: metric.text(file.accuracy),
            lambda before, after: metric.change_text(before.accuracy, after.accuracy),
        ),
        (f"{metric.name} in Keras", lambda file: metric.text(file.accuracy_keras), keras_change),
    ]
    rows += [_metric_row(name) for name in result.baseline.metrics if name != metric.name]
    if metric == ACCURACY or result.baseline.keras_agreement is not None:
        rows.append(("labels as in Keras", lambda file: fraction(file.keras_agreement), _nothing))
    else:
        rows.append(("differs from Keras, rms", _difference_from_keras, _nothing))
    if any(file.teacher_agreement is not None for file in result.files):
        rows.append(
            ("labels as the teacher's", lambda file: fraction(file.teacher_agreement), _nothing)
        )
    if any(file.teacher_relative_rms is not None for file in result.files):
        rows.append(
            (
                "differs from the teacher, rms",
                lambda file: percents(file.teacher_relative_rms),
                _nothing,
            )
        )
    return rows


def _metric_row(name: str) -> _Row:
    """Returns the row of one of the other metrics, whose unit isn't known."""
    return (
        f"{name} of the file",
        lambda file: number(file.metrics.get(name)),
        lambda before, after: difference(before.metrics.get(name), after.metrics.get(name)),
    )


def _difference_from_keras(file: FileResult) -> str:
    return percents(file.parity.get("relative_rms"))


def _nothing(before: FileResult, after: FileResult) -> str:
    return ""


def file_names(result: RunResult) -> list[str]:
    """Names the compressed files for a reader: a single one by its technique, else by storage."""
    if len(result.files) == 1:
        return [result.technique]
    return [file.storage for file in result.files]


def headers(result: RunResult) -> list[str]:
    """Returns what stands over the columns of the comparison."""
    if len(result.files) == 1:
        return ["", "baseline", result.technique, "ratio or change"]
    return ["", "baseline", *(text for name in file_names(result) for text in (name, "ratio"))]


def explanation(result: RunResult) -> str:
    """Says what the columns and ratios are."""
    if len(result.files) > 1:
        return (
            f"Columns: the {result.technique} network, stored as "
            f"{' and as '.join(file_names(result))}. Ratio: divided by baseline; below 1 is less."
        )
    return f"Ratio: {result.technique} divided by baseline; below 1 is less."


def console_table(result: RunResult) -> str:
    """Lays the comparison out for a terminal, with a line that explains it."""
    rows = [
        [
            row.label,
            row.baseline,
            *(text for cell in row.cells for text in (cell.value, cell.change)),
        ]
        for row in comparison(result)
    ]
    footnote = "\n- not measured" if any(MISSING in row for row in rows) else ""
    text = table(rows, headers(result), words=1)
    return f"{text}\n{explanation(result) if result.files else ''}{footnote}".rstrip("\n")


def latency_change(file: FileResult) -> str:
    """Writes the latency ratio taken in turns, with its spread if there is one."""
    low, high = file.latency_ratio_p10, file.latency_ratio_p90
    spread = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return factor(file.latency_ratio) + spread


def fraction(value: float | None) -> str:
    """Writes an accuracy with four decimals."""
    return ACCURACY.text(value)


def percents(share: float | None) -> str:
    """Writes a share as percent with two significant digits."""
    return MISSING if share is None else f"{100 * share:.2g}%"


def number(value: float | None) -> str:
    """Writes a number of any size with four significant digits."""
    return Metric(share=False).text(value)


def difference(before: float | None, after: float | None) -> str:
    """Writes a difference with its sign."""
    return MISSING if before is None or after is None else f"{after - before:+.3g}"


def kibibytes(value: int | None) -> str:
    """Writes bytes as KiB."""
    return MISSING if value is None else f"{value / 1024:,.1f}"


def mebibytes(value: int | None) -> str:
    """Writes bytes as MiB."""
    return MISSING if value is None else f"{value / 2**20:,.1f}"


def whole(value: int | None) -> str:
    """Writes a count with thousands separated."""
    return MISSING if value is None else f"{value:,}"


def millions(value: int | None) -> str:
    """Writes a count in millions, with enough digits for a tiny model's."""
    if value is None:
        return MISSING
    return f"{value / 1e6:,.{1 if value >= 1e8 else 2 if value >= 1e6 else 4}f}"


def milliseconds(value: float | None) -> str:
    """Writes a time with three significant digits and never in exponents.

    >>> [milliseconds(value) for value in (1234.5, 12.345, 0.5, 0.00112, None)]
    ['1,234', '12.3', '0.500', '0.0011', '-']
    """
    if value is None:
        return MISSING
    for limit, digits in ((100, 0), (10, 1), (1, 2), (0.01, 3)):
        if value >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.4f}" if value >= 0.0001 or value == 0 else "<0.0001"


def factor(value: float | None) -> str:
    """Writes a ratio as `0.28x`, with more digits where two would hide it.

    >>> factor(0.281), factor(2.0), factor(0.0313), factor(None)
    ('0.28x', '2.00x', '0.031x', '-')
    """
    if value is None:
        return MISSING
    return f"{value:.2f}x" if value >= 0.1 else f"{value:.2g}x"
