"""How much memory a process needs to run a file once."""

from __future__ import annotations

import dataclasses
import os

from tfcompress.benchmark import process
from tfcompress.benchmark.latency import check_backend


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """The peak memory of a process that loads a file and runs it once.

    Attributes:
        peak_memory_bytes: the process's peak; None where the system doesn't say.
        baseline_memory_bytes: the peak of a process that only imports the runtime.
    """

    peak_memory_bytes: int | None
    baseline_memory_bytes: int | None

    @property
    def model_memory_bytes(self) -> int | None:
        """What the file added to the runtime's own memory; None if it wasn't measured."""
        if self.peak_memory_bytes is None or self.baseline_memory_bytes is None:
            return None
        return self.peak_memory_bytes - self.baseline_memory_bytes


def memory(
    path: str | os.PathLike[str],
    *,
    backend: str = "cpu",
    threads: int = 1,
    baseline_memory_bytes: int | None = None,
    timeout_s: float = 120.0,
) -> Memory:
    """Loads, allocates and runs a file once in a fresh process and takes that process's peak.

    The peak counts Python and the runtime's libraries; the baseline, from another fresh process,
    counts them alone.

    Args:
        path: the `.tflite` file.
        backend: `cpu` or `cpu-noxnn`.
        threads: CPU threads of the inference.
        baseline_memory_bytes: a baseline taken before; None takes one.
        timeout_s: a process is killed after this.

    Raises:
        InputError: an unknown backend.
        BenchmarkError: the file can't be loaded or run, or the process crashed or ran out of time.
    """
    check_backend(backend)
    if baseline_memory_bytes is None:
        baseline_memory_bytes = baseline(timeout_s=timeout_s)
    return Memory(
        peak_memory_bytes=_peak([os.path.abspath(path)], backend, threads, timeout_s),
        baseline_memory_bytes=baseline_memory_bytes,
    )


def peak_memory_bytes(path: str | os.PathLike[str], *, timeout_s: float = 120.0) -> int | None:
    """The peak memory of a fresh process that runs the file once; see `memory`."""
    return _peak([os.path.abspath(path)], "cpu", 1, timeout_s)


def baseline(*, timeout_s: float = 120.0) -> int | None:
    """The peak memory in bytes of a process that only imports the runtime."""
    return _peak([], "cpu", 1, timeout_s)


def _peak(paths: list[str], backend: str, threads: int, timeout_s: float) -> int | None:
    """The peak of one fresh process."""
    request = {
        "task": "memory",
        "paths": paths,
        "threads": threads,
        "xnnpack": backend == "cpu",
        "seed": 0,
    }
    return process.ask(request, timeout_s=timeout_s)["peak_memory_bytes"]
