"""Compares a run's files row by row, for the console, Markdown and HTML alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tfcompress.console import table
from tfcompress.report.result import FileResult, RunResult, percentage_points, quotient

MISSING = "-"


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a row says of one compressed file, as text.

    Attributes:
        value: the file's value; `-` if it wasn't measured.
        change: the ratio (compressed divided by baseline) or, for accuracy, the difference.
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


def _accuracy_change(before: FileResult, after: FileResult) -> str:
    change = percentage_points(before.accuracy, after.accuracy)
    return "unchanged" if change == 0 else f"{change:+.2f} points"


def _keras_change(before: FileResult, after: FileResult) -> str:
    if before.accuracy_keras is None or after.accuracy_keras is None:
        return MISSING
    return f"{percentage_points(before.accuracy_keras, after.accuracy_keras):+.2f} points"


def _ratio(field: str) -> Callable[[FileResult, FileResult], str]:
    """Makes a function that divides a field of two files."""
    return lambda before, after: factor(quotient(getattr(after, field), getattr(before, field)))


# Label, the value's text, and the text of its change from the baseline's; by their importance.
_ROWS: tuple[
    tuple[str, Callable[[FileResult], str], Callable[[FileResult, FileResult], str]], ...
] = (
    ("accuracy of the file", lambda file: fraction(file.accuracy), _accuracy_change),
    ("accuracy in Keras", lambda file: fraction(file.accuracy_keras), _keras_change),
    ("labels as in Keras", lambda file: fraction(file.keras_agreement), lambda before, after: ""),
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
        for label, value, change in _ROWS
    ]


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
    return MISSING if value is None else f"{value:.4f}"


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
