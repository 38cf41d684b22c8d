"""Times inferences, and compares files with one another by running them in turns.

All files of a call are loaded into one fresh process and run in turns, so that a busy machine or a
changing clock frequency falls on all of them. A file's ratio to the first one is taken within each
round and the median over rounds is reported: medians taken in separate runs, divided by one
another, would carry the machine's drift.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from tfcompress.benchmark import process
from tfcompress.benchmark.backends import parse
from tfcompress.errors import require

# From this many runs on, a percentile isn't just the largest value seen.
P90_RUNS = 10
P95_RUNS = 20
P99_RUNS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """The times of one file on one backend. None stands for a number that wasn't measured.

    Attributes:
        path: the file.
        backend: as it was asked for, such as `cpu`; see `tfcompress.benchmark.backends`.
        threads: CPU threads of an inference.
        load_ms: time to read the file and to allocate its tensors or compile it, in a process that
            did so before: the library is started and the file is in the page cache. Median of 3.
        first_ms: time of the first inference after loading. Median of 3.
        warmup_ms: mean time of the inferences before the rounds, which count for nothing else.
        warmup_runs: how many those were.
        latency_ms_p50: the median of the timed inferences.
        latency_ms_p90: their 90th percentile; None below 10 runs.
        latency_ms_p99: their 99th percentile; None below 100 runs.
        latency_ms_p5: their 5th percentile; None below 20 runs.
        latency_ms_p95: their 95th percentile; None below 20 runs.
        latency_ms_min: the fastest.
        latency_ms_max: the slowest.
        latency_ms_mean: their mean.
        latency_ms_std: their standard deviation; None for a single run.
        latency_runs: how many inferences were timed.
        block_runs: how many of them ran back to back in a round, for every file of the call.
        ratio: this file's time divided by the first file's, median over rounds; 1 for the first
            file, None if the two weren't timed together.
        ratio_p10: 10th percentile over rounds; None below 10 rounds.
        ratio_p90: 90th percentile over rounds; None below 10 rounds.
    """

    path: str
    backend: str
    threads: int
    load_ms: float | None = None
    first_ms: float | None = None
    warmup_ms: float | None = None
    warmup_runs: int = 0
    latency_ms_p50: float | None = None
    latency_ms_p90: float | None = None
    latency_ms_p99: float | None = None
    latency_ms_p5: float | None = None
    latency_ms_p95: float | None = None
    latency_ms_min: float | None = None
    latency_ms_max: float | None = None
    latency_ms_mean: float | None = None
    latency_ms_std: float | None = None
    latency_runs: int = 0
    block_runs: int = 0
    ratio: float | None = None
    ratio_p10: float | None = None
    ratio_p90: float | None = None


def latency(
    paths: Sequence[str | os.PathLike[str]],
    *,
    backend: str = "cpu",
    threads: int = 1,
    runs: int = 200,
    min_seconds: float = 1.0,
    max_seconds: float = 150.0,
    timeout_s: float = 600.0,
    seed: int = 0,
) -> list[Latency]:
    """Times files side by side in one fresh process, on fixed random input.

    Each round runs every file, beginning with another one each time: once untimed, then a few times
    timed, back to back (as often as fills 5 ms with the fastest file, 10 times at most, the same
    count for all files). Every inference is timed on its own.

    Args:
        paths: `.tflite` files; the first is what the others' ratios refer to.
        backend: such as `cpu`; see `tfcompress.benchmark.backends`. Whether the outputs are right
            isn't checked here but in `tfcompress.benchmark.probe`.
        threads: CPU threads of an inference.
        runs: timed inferences of each file, at least, unless `max_seconds` ends them.
        min_seconds: how long the rounds go on, at least, or until 2,000 rounds are done.
        max_seconds: no new round begins after this; `latency_runs` says how many were timed.
        timeout_s: the process is killed after this.
        seed: of the random input.

    Returns:
        One `Latency` per path, in order. A file given twice is measured twice.

    Raises:
        InputError: no path, an unknown backend, threads or runs below 1, or a time below 0.
        BenchmarkError: a file can't be loaded or run, or the process crashed or ran out of time.
    """
    chosen = parse(backend)
    require(len(paths) > 0, "benchmark needs at least one .tflite file")
    require(threads >= 1, f"threads must be 1 or more; got {threads}")
    require(runs >= 1, f"runs must be 1 or more; got {runs}")
    require(min_seconds >= 0, f"min_seconds must be 0 or more; got {min_seconds}")
    require(max_seconds > 0, f"max_seconds must be positive; got {max_seconds}")
    answer = process.ask(
        {
            "task": "latency",
            "paths": [os.path.abspath(path) for path in paths],
            "threads": threads,
            "backend": chosen.to_json(),
            "runs": runs,
            "min_seconds": min_seconds,
            "max_seconds": max_seconds,
            "seed": seed,
        },
        timeout_s=timeout_s,
    )
    return [
        _latency_of(os.fspath(path), backend, threads, answer, index)
        for index, path in enumerate(paths)
    ]


def _latency_of(
    path: str, backend: str, threads: int, answer: Mapping[str, Any], index: int
) -> Latency:
    """Sums up what the measuring process answered about one file."""
    return Latency(
        path=path,
        backend=backend,
        threads=threads,
        load_ms=median(answer["loads_ns"][index]) / 1e6,
        first_ms=median(answer["firsts_ns"][index]) / 1e6,
        warmup_ms=mean(answer["warmups_ns"][index]) / 1e6,
        warmup_runs=len(answer["warmups_ns"][index]),
        block_runs=answer["block_runs"],
        **statistics([times[index] for times in answer["rounds_ns"]]),
        **ratios(answer["rounds_ns"], index),
    )


def statistics(rounds_ns: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Computes the statistics of one file's inferences, whichever round they were in.

    Args:
        rounds_ns: per round, the nanoseconds of each inference.

    Returns:
        The `latency_*` fields of `Latency`.
    """
    import numpy as np

    times = np.asarray([time for block in rounds_ns for time in block], np.float64) / 1e6
    return {
        "latency_ms_p50": float(np.percentile(times, 50)),
        "latency_ms_p90": float(np.percentile(times, 90)) if len(times) >= P90_RUNS else None,
        "latency_ms_p99": float(np.percentile(times, 99)) if len(times) >= P99_RUNS else None,
        "latency_ms_p5": float(np.percentile(times, 5)) if len(times) >= P95_RUNS else None,
        "latency_ms_p95": float(np.percentile(times, 95)) if len(times) >= P95_RUNS else None,
        "latency_ms_min": float(times.min()),
        "latency_ms_max": float(times.max()),
        "latency_ms_mean": float(times.mean()),
        "latency_ms_std": float(times.std(ddof=1)) if len(times) > 1 else None,
        "latency_runs": len(times),
    }


def ratios(rounds_ns: Sequence[Sequence[Sequence[int]]], index: int) -> dict[str, Any]:
    """Divides a file's time by the first file's, round by round, and sums up over rounds.

    Args:
        rounds_ns: per round, per file, the nanoseconds of each inference.
        index: the file.

    Returns:
        The `ratio*` fields of `Latency`.
    """
    import numpy as np

    medians = np.asarray(
        [[np.median(times) for times in (files[0], files[index])] for files in rounds_ns]
    )
    # A clock that didn't move during a run can't divide; 1 ns is below any clock's step.
    quotients = medians[:, 1] / np.maximum(medians[:, 0], 1.0)
    spread = len(quotients) >= P90_RUNS
    return {
        "ratio": float(np.median(quotients)),
        "ratio_p10": float(np.percentile(quotients, 10)) if spread else None,
        "ratio_p90": float(np.percentile(quotients, 90)) if spread else None,
    }
