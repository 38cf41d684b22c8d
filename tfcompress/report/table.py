"""Compares two files row by row, for the console, Markdown and HTML alike."""

from __future__ import annotations

import dataclasses

from tfcompress.console import table
from tfcompress.report.result import RunResult, quotient

MISSING = "-"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the comparison, as text.

    Attributes:
        label: what is compared, with its unit.
        baseline: the baseline's value; `-` if it wasn't measured.
        compressed: the compressed file's value; `-` if it wasn't measured.
        change: the ratio (compressed divided by baseline) or, for accuracy, the difference.
    """

    label: str
    baseline: str
    compressed: str
    change: str


def comparison(result: RunResult) -> list[Row]:
    """Compares the compressed file with the baseline, in rows by their importance."""
    before, after, ratio = result.baseline, result.compressed, result.ratio
    change = result.accuracy_change_points
    return [
        Row(
            "accuracy of the file",
            fraction(before.accuracy),
            fraction(after.accuracy),
            "unchanged" if change == 0 else f"{change:+.2f} points",
        ),
        Row(
            "accuracy in Keras",
            fraction(before.accuracy_keras),
            fraction(after.accuracy_keras),
            MISSING
            if before.accuracy_keras is None or after.accuracy_keras is None
            else f"{100 * (after.accuracy_keras - before.accuracy_keras):+.2f} points",
        ),
        Row(
            "file size, KiB",
            kibibytes(before.size_bytes),
            kibibytes(after.size_bytes),
            factor(ratio["size"]),
        ),
        Row(
            "after gzip, KiB",
            kibibytes(before.gzip_bytes),
            kibibytes(after.gzip_bytes),
            factor(quotient(after.gzip_bytes, before.gzip_bytes)),
        ),
        Row(
            "packed as .tfz, KiB",
            kibibytes(before.packed_bytes),
            kibibytes(after.packed_bytes),
            factor(quotient(after.packed_bytes, before.packed_bytes)),
        ),
        Row(
            "latency median, ms",
            milliseconds(before.latency_ms_p50),
            milliseconds(after.latency_ms_p50),
            latency_change(result),
        ),
        Row(
            "latency 90th percentile, ms",
            milliseconds(before.latency_ms_p90),
            milliseconds(after.latency_ms_p90),
            factor(quotient(after.latency_ms_p90, before.latency_ms_p90)),
        ),
        Row(
            "peak memory, MiB",
            mebibytes(before.peak_memory_bytes),
            mebibytes(after.peak_memory_bytes),
            factor(quotient(after.peak_memory_bytes, before.peak_memory_bytes)),
        ),
        Row(
            "parameters",
            whole(before.parameters),
            whole(after.parameters),
            factor(ratio["parameters"]),
        ),
        Row("MACs, million", millions(before.macs), millions(after.macs), factor(ratio["macs"])),
        Row(
            "training step, ms",
            milliseconds(before.train_step_ms),
            milliseconds(after.train_step_ms),
            factor(quotient(after.train_step_ms, before.train_step_ms)),
        ),
    ]


def console_table(result: RunResult) -> str:
    """Lays the comparison out for a terminal, with a line that explains it."""
    rows = comparison(result)
    text = table(
        [[row.label, row.baseline, row.compressed, row.change] for row in rows],
        ["", "baseline", result.technique, "ratio or change"],
        words=1,
    )
    missing = any(MISSING in (row.baseline, row.compressed) for row in rows)
    footnote = "\n- not measured" if missing else ""
    return f"{text}\nratio: {result.technique} divided by baseline; below 1 is less{footnote}"


def latency_change(result: RunResult) -> str:
    """Writes the interleaved latency ratio, with its spread if there is one."""
    low, high = result.latency_ratio_p10, result.latency_ratio_p90
    spread = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return factor(result.latency_ratio) + spread


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
