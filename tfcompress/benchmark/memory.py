"""Measures how much memory the runtime takes before it has seen a file."""

from __future__ import annotations

from tfcompress.benchmark import process


def baseline_memory_bytes(*, timeout_s: float = 120.0) -> int | None:
    """Measures the peak memory of a process that only imports the runtime.

    Python and the runtime's libraries are in it, as they are in a file's peak, which
    `tfcompress.benchmark.probe` measures.

    Returns:
        Bytes; None if the system doesn't say.

    Raises:
        BenchmarkError: no measuring process can be started here.
    """
    return process.ask({"task": "baseline"}, timeout_s=timeout_s)["peak_memory_bytes"]
