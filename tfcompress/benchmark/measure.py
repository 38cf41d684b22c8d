"""Everything that is measured about files, one value per file, backend and thread count."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from tfcompress.benchmark.latency import Latency, check_backend, latency
from tfcompress.benchmark.memory import baseline, memory
from tfcompress.benchmark.sizes import gzip_bytes, size_bytes
from tfcompress.config import BENCHMARK_BACKENDS as BACKENDS
from tfcompress.config import require
from tfcompress.runtime import content

__all__ = ["BACKENDS", "FileBenchmark", "measure"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileBenchmark(Latency):
    """What was measured about one file on one backend. None is a number that wasn't measured.

    Attributes:
        size_bytes: the file's size.
        gzip_bytes: its size after gzip at level 9.
        macs: multiply-accumulates of one inference; None if the file has ops we can't count.
        peak_memory_bytes: peak of a fresh process that loads the file and runs it once.
        baseline_memory_bytes: peak of a process that only imports the runtime.
    """

    size_bytes: int
    gzip_bytes: int
    macs: int | None
    peak_memory_bytes: int | None
    baseline_memory_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)


def measure(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    backends: str | Sequence[str] = ("cpu",),
    threads: int | Sequence[int] = 1,
    runs: int = 200,
    min_seconds: float = 1.0,
    timeout_s: float = 600.0,
) -> list[FileBenchmark]:
    """Measures size, multiply-accumulates, latency and peak memory of `.tflite` files.

    The files of a backend and thread count run in turns in one fresh process, and each file's
    ratio refers to the first file; see `tfcompress.benchmark.latency.latency`.

    Args:
        paths: a `.tflite` file or several.
        backends: `cpu` (with XNNPACK), `cpu-noxnn` (without), or several.
        threads: CPU threads of an inference, or several counts.
        runs: timed inferences of each file.
        min_seconds: how long the timed rounds go on, at least.
        timeout_s: a measuring process is killed after this.

    Returns:
        One value per backend, thread count and file, in this order.

    Raises:
        InputError: a file is missing, not a `.tflite` file or corrupt; an unknown backend; no
            file; threads or runs below 1.
        BenchmarkError: a file can't be run, or its process crashed or ran out of time.

    Example:
        >>> import tfcompress
        >>> tfcompress.benchmark(["a.tflite", "b.tflite"])[1].ratio  # doctest: +SKIP
    """
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    names = [backends] if isinstance(backends, str) else list(backends)
    counts = [threads] if isinstance(threads, int) else list(threads)
    require(len(files) > 0, "benchmark needs at least one .tflite file")
    require(len(names) > 0, f"benchmark needs a backend: {', '.join(BACKENDS)}")
    require(len(counts) > 0, "benchmark needs a number of threads, 1 or more")
    for name in names:
        check_backend(name)
    # All files are parsed before any is run: a misspelled name shouldn't cost the others' time.
    static: list[dict[str, Any]] = [
        {
            "macs": content.read(file).macs,
            "size_bytes": size_bytes(file),
            "gzip_bytes": gzip_bytes(file),
        }
        for file in files
    ]
    results: list[FileBenchmark] = []
    own_bytes: int | None = None
    for name in names:
        for count in counts:
            timed = latency(
                files,
                backend=name,
                threads=count,
                runs=runs,
                min_seconds=min_seconds,
                timeout_s=timeout_s,
            )
            if own_bytes is None:
                own_bytes = baseline(timeout_s=timeout_s)
            for file, numbers, times in zip(files, static, timed, strict=True):
                peak = memory(
                    file,
                    backend=name,
                    threads=count,
                    baseline_memory_bytes=own_bytes,
                    timeout_s=timeout_s,
                )
                results.append(
                    FileBenchmark(
                        **dataclasses.asdict(times), **numbers, **dataclasses.asdict(peak)
                    )
                )
    return results
