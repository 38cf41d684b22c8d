"""Lays out measured files in tables that a person reads."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress import console
from tfcompress.benchmark.machine import machine_line
from tfcompress.benchmark.measure import FileBenchmark

MISSING = "-"


def table(results: Sequence[FileBenchmark]) -> str:
    """Lays out what the files are and how they ran, with lines that explain it.

    Args:
        results: as `measure` returns them.

    Returns:
        Text of several lines; `-` stands for a number that wasn't measured.
    """
    labels = file_labels([result.path for result in results])
    parts = [sizes(results, labels), times(results, labels), explanation(results)]
    lines = remarks(results, labels)
    return "\n\n".join([*parts, *(["\n".join(lines)] if lines else [])])


def sizes(results: Sequence[FileBenchmark], labels: Mapping[str, str]) -> str:
    """Lays out what each file is, one row per file."""
    rows = [
        [
            labels[path],
            f"{file.size_bytes / 1024:,.1f}",
            f"{file.gzip_bytes / 1024:,.1f}",
            MISSING if file.macs is None else f"{file.macs:,}",
            f"{file.weight_bytes / 1024:,.1f}",
            f"{file.activation_bytes / 1024:,.1f}",
        ]
        for path, file in {result.path: result for result in results}.items()
    ]
    headers = ["file", "size\nKiB", "gzip\nKiB", "MACs", "weights\nKiB", "activations\nKiB"]
    return console.table(rows, headers, words=1)


def times(results: Sequence[FileBenchmark], labels: Mapping[str, str]) -> str:
    """Lays out how the files ran, one row per file, backend and thread count."""
    rows = [
        [
            labels[result.path],
            f"{backend_label(result.backend)} x{result.threads}{_signature(result)}",
            f"{result.outcome} (software)" if result.software else result.outcome,
            milliseconds(result.latency_ms_p50),
            milliseconds(result.latency_ms_p90),
            milliseconds(result.latency_ms_p99),
            milliseconds(result.latency_ms_std),
            ratio(result),
            milliseconds(result.load_ms),
            milliseconds(result.first_ms),
            mebibytes(result.peak_memory_bytes),
            MISSING if result.gmacs_per_s is None else digits(result.gmacs_per_s, 3),
            MISSING if result.peak_share is None else f"{100 * result.peak_share:.0f}",
            f"{result.latency_runs:,}" if result.timed else MISSING,
        ]
        for result in results
    ]
    headers = [
        "file",
        "backend",
        "outcome",
        "median\nms",
        "p90\nms",
        "p99\nms",
        "std\nms",
        "time /\nfirst file's",
        "load\nms",
        "first\nms",
        "memory\nMiB",
        "GMAC/s",
        "% of\npeak",
        "runs",
    ]
    return console.table(rows, headers, words=3)


def _signature(result: FileBenchmark) -> str:
    """Names the signature that ran, where the file has several and the backend names none."""
    if not result.signature or "signature=" in result.backend:
        return ""
    return f" ({result.signature})"


def explanation(results: Sequence[FileBenchmark]) -> str:
    """Says what the tables' columns mean."""
    lines = [
        "time / first file's: below 1 is faster than the first file; median over rounds, 10th to",
        "90th percentile in brackets.",
        "memory: peak of a process that loads the file and runs it once.",
    ]
    baseline = next((r.baseline_memory_bytes for r in results if r.baseline_memory_bytes), None)
    if baseline:
        lines[-1] += f" Python and the runtime alone: {mebibytes(baseline)} MiB."
    peaks = {(r.peak_dtype, r.threads): r.peak_gmacs_per_s for r in results if r.peak_gmacs_per_s}
    for (dtype, threads), peak in peaks.items():
        lines.append(
            f"peak: {peak:,.0f} GMAC/s, a product of {dtype} matrices here with {threads} thread"
            f"{'s' if threads > 1 else ''}."
        )
    return "\n".join(lines)


def remarks(results: Sequence[FileBenchmark], labels: Mapping[str, str]) -> list[str]:
    """Says what the numbers don't: what failed, what ran, what may fail."""
    lines = []
    for result in results:
        if result.reason:
            where = f"{labels[result.path]} on {backend_label(result.backend)} x{result.threads}"
            lines.append(f"{where}: {result.outcome}: {result.reason}")
        if result.latency_ms_p50 is None and result.latency_ms_mean is not None:
            mean = milliseconds(result.latency_ms_mean)
            lines.append(f"{labels[result.path]} on {result.backend}: mean {mean} ms, no median.")
    phones = {r.adapter: None for r in results if r.adapter and r.kind == "android"}
    lines += [f"Phone: {phone}; nobody compared what the files compute there." for phone in phones]
    gpus = [r for r in results if r.adapter and r.kind != "android"]
    adapters = {(r.adapter, r.adapter_type, r.precision): r.software for r in gpus}
    for (name, kind, precision), software in adapters.items():
        asked = "fp16 where it can" if precision == "fp16" else precision
        lines.append(
            f"GPU: {name} ({kind or 'of unnamed type'}), asked for {asked}; times go on until the "
            "outputs are read."
        )
        if software:
            lines.append(f"{name} is a CPU in a GPU's place: not a performance number.")
    warned = {f"{labels[r.path]}: {warning}." for r in results for warning in r.warnings}
    return lines + [f"May fail on a GPU: {line}" for line in sorted(warned)]


def place(machine: Mapping[str, Any]) -> str:
    """Says in one line on which machine, by which tfcompress the numbers were measured."""
    return (
        f"Measured on {machine_line(machine)}, with ai_edge_litert {machine['ai_edge_litert']}; a "
        "phone's times are others."
    )


def file_labels(paths: Sequence[str]) -> dict[str, str]:
    """Labels each path with its shortest end that no other path of the list has.

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


def backend_label(name: str) -> str:
    """Returns a backend's name without the folders of a delegate's library.

    >>> backend_label("delegate:/usr/lib/libx.so?level=2/3")
    'delegate:libx.so?level=2/3'
    """
    if not name.startswith("delegate:"):
        return name
    library, question, options = name.removeprefix("delegate:").partition("?")
    return f"delegate:{os.path.basename(library)}{question}{options}"


def milliseconds(value: float | None) -> str:
    """Writes a time with three significant digits, and never in exponents."""
    return MISSING if value is None else digits(value, 3)


def digits(value: float, count: int) -> str:
    """Writes a number with so many significant digits, but no further than to 1e-4."""
    if value <= 0:
        return "0"
    places = count - 1 - math.floor(math.log10(value))
    return f"{value:,.{min(max(places, 0), 4)}f}"


def mebibytes(value: int | None) -> str:
    """Writes bytes as MiB with one decimal."""
    return MISSING if value is None else f"{value / 2**20:,.1f}"


def ratio(result: FileBenchmark) -> str:
    """Writes the ratio to the first file, with its spread if there is one."""
    if result.ratio is None:
        return MISSING
    if result.ratio_p10 is None or result.ratio_p90 is None:
        return factor(result.ratio)
    return f"{factor(result.ratio)} ({factor(result.ratio_p10)}-{factor(result.ratio_p90)})"


def factor(value: float) -> str:
    """Writes a ratio with two decimals, or more where two would read 0.00."""
    return f"{value:.2f}" if value >= 0.1 else digits(value, 2)
