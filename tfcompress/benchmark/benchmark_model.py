"""Parses what TensorFlow Lite's `benchmark_model` prints."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = r"([0-9.eE+]+)"
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_COUNTS = re.compile(r"^.*\bcount=(\d+)\b(.*)$", re.M)
_VALUE = re.compile(rf"(\w+)={_NUMBER}")
# Names in its output, and the fields of `Latency` that they are.
_FIELDS = {
    "median": "latency_ms_p50",
    "p5": "latency_ms_p5",
    "p95": "latency_ms_p95",
    "min": "latency_ms_min",
    "max": "latency_ms_max",
    "avg": "latency_ms_mean",
    "std": "latency_ms_std",
}


def parse_output(text: str) -> dict[str, Any]:
    """Returns the fields of `tfcompress.benchmark.latency.Latency` that stand in the output.

    What isn't there has no field: older programs print no median.

    Raises:
        ValueError: the output isn't that of a run that came to its end.
    """
    timings = _TIMINGS.search(text)
    counts = _COUNTS.findall(text[: timings.start()] if timings else "")
    # One line of the warm-up, one of the timed runs.
    if not timings or len(counts) < 2:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = f": {lines[-1][:200]}" if lines else ""
        raise ValueError(f"benchmark_model printed no timings{last}")
    init, first, warmup, average = (float(number) for number in timings.groups())
    count, rest = counts[-1]
    values = {key: float(value) for key, value in _VALUE.findall(rest)}
    if abs(values.get("avg", -1.0) - average) > 1e-3 * average:
        raise ValueError("benchmark_model's output contradicts itself: two different averages")
    return {
        **{name: values[key] / 1e3 for key, name in _FIELDS.items() if key in values},
        "load_ms": init / 1e3,
        "first_ms": first / 1e3,
        "warmup_ms": warmup / 1e3,
        "warmup_runs": int(counts[-2][0]),
        "latency_runs": int(count),
    }
