"""Measured files as a table that a person reads."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tabulate

from tfcompress.benchmark.measure import FileBenchmark

MISSING = "-"


def table(results: Sequence[FileBenchmark]) -> str:
    """One row per file, backend and thread count, and the lines that explain the columns.

    Args:
        results: as `measure` gives them.

    Returns:
        Text of several lines; `-` stands for a number that wasn't measured.
    """
    labels = file_labels([result.path for result in results])
    rows = [
        [
            labels[result.path],
            f"{result.backend} x{result.threads}",
            f"{result.size_bytes / 1024:,.1f}",
            f"{result.gzip_bytes / 1024:,.1f}",
            MISSING if result.macs is None else f"{result.macs:,}",
            milliseconds(result.latency_ms_p50),
            milliseconds(result.latency_ms_p90),
            ratio(result),
            milliseconds(result.load_ms),
            milliseconds(result.first_ms),
            mebibytes(result.peak_memory_bytes),
            f"{result.latency_runs:,}",
        ]
        for result in results
    ]
    headers = [
        "file",
        "backend",
        "size\nKiB",
        "gzip\nKiB",
        "MACs",
        "median\nms",
        "p90\nms",
        "time /\nfirst file's",
        "load\nms",
        "first\nms",
        "memory\nMiB",
        "runs",
    ]
    text = tabulate.tabulate(
        rows, headers, disable_numparse=True, colalign=("left", "left", *["right"] * 10)
    )
    return f"{text}\n\n{explanation(results)}"


def explanation(results: Sequence[FileBenchmark]) -> str:
    """What the table's columns mean."""
    lines = [
        "time / first file's: below 1 is faster than the first file; median over rounds, 10th to",
        "90th percentile in brackets.",
        "memory: peak of a process that loads the file and runs it once.",
    ]
    baseline = next((r.baseline_memory_bytes for r in results if r.baseline_memory_bytes), None)
    if baseline:
        lines[-1] += f" Python and the runtime alone: {mebibytes(baseline)} MiB."
    return "\n".join(lines)


def place(machine: Mapping[str, Any]) -> str:
    """On what the numbers were measured, in one line."""
    return (
        f"Measured on {machine['cpu'] or 'an unnamed CPU'}, {machine['cores'] or '?'} cores, with "
        f"ai_edge_litert {machine['ai_edge_litert']}; a phone's times are others."
    )


def file_labels(paths: Sequence[str]) -> dict[str, str]:
    """Path to the shortest end of it that no other path of the list shares.

    >>> file_labels(["a/m.tflite", "b/m.tflite", "n.tflite"])
    {'a/m.tflite': 'a/m.tflite', 'b/m.tflite': 'b/m.tflite', 'n.tflite': 'n.tflite'}
    """
    distinct = list(dict.fromkeys(paths))
    labels = {}
    for path in distinct:
        parts = path.replace(os.sep, "/").split("/")
        for count in range(1, len(parts) + 1):
            end = "/".join(parts[-count:])
            others = (other.replace(os.sep, "/") for other in distinct if other != path)
            if not any(other == end or other.endswith(f"/{end}") for other in others):
                break
        labels[path] = end
    return labels


def milliseconds(value: float | None) -> str:
    """Three significant digits, and never in exponents."""
    return MISSING if value is None else digits(value, 3)


def digits(value: float, count: int) -> str:
    """A number with so many significant digits, at least to the units and at most to 1e-4."""
    if value <= 0:
        return "0"
    places = count - 1 - math.floor(math.log10(value))
    return f"{value:,.{min(max(places, 0), 4)}f}"


def mebibytes(value: int | None) -> str:
    """Bytes as MiB with one decimal."""
    return MISSING if value is None else f"{value / 2**20:,.1f}"


def ratio(result: FileBenchmark) -> str:
    """The ratio to the first file, with its spread if there is one."""
    if result.ratio_p10 is None or result.ratio_p90 is None:
        return factor(result.ratio)
    return f"{factor(result.ratio)} ({factor(result.ratio_p10)}-{factor(result.ratio_p90)})"


def factor(value: float) -> str:
    """A ratio with two decimals, or more where two would read 0.00."""
    return f"{value:.2f}" if value >= 0.1 else digits(value, 2)
