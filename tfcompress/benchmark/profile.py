"""Times the ops of a file on the CPU."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from tfcompress.benchmark import process, profiler
from tfcompress.benchmark.backends import Backend
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.console import table
from tfcompress.runtime.delegates import has_bit_ops
from tfcompress.tflite.signatures import DEFAULT

RUNS = 200
SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class OpTime:
    """One op of a run, in its order.

    Attributes:
        name: the runtime's name for it; XNNPACK's names are not the file's.
        ms: its time, the mean over the undisturbed half of the runs: LiteRT's clock ticks once in
            a microsecond, and a median would round short ops to nothing.
        share: its time as a share of the sum over all ops.
    """

    name: str
    ms: float
    share: float


@dataclasses.dataclass(frozen=True)
class Profile:
    """The times of a file's ops.

    Attributes:
        ops: in the order in which they ran; empty if there are none.
        run_ms: the median of inferences without profiling, in turns with those with it.
        unavailable: why there are no op times; empty if there are.
    """

    ops: tuple[OpTime, ...] = ()
    run_ms: float | None = None
    unavailable: str = ""

    @property
    def coverage(self) -> float | None:
        """Returns the ops' sum as a share of an unprofiled run: near 1 if nothing is missing."""
        return sum(op.ms for op in self.ops) / self.run_ms if self.run_ms else None

    def by_name(self) -> dict[str, tuple[int, float]]:
        """Returns the count and the milliseconds of the ops of each name, the longest first."""
        counts: dict[str, int] = collections.Counter(op.name for op in self.ops)
        sums: dict[str, float] = collections.defaultdict(float)
        for op in self.ops:
            sums[op.name] += op.ms
        return {name: (counts[name], sums[name]) for name in sorted(sums, key=lambda n: -sums[n])}

    def to_json(self) -> dict[str, Any]:
        """Returns the profile as JSON values."""
        return {
            "ops": [dataclasses.asdict(op) for op in self.ops],
            "run_ms": self.run_ms,
            "coverage": self.coverage,
            "unavailable": self.unavailable,
        }


def profile(
    path: str | os.PathLike[str], backend: Backend, *, threads: int = 1, timeout_s: float = 120.0
) -> Profile:
    """Times each op of a file on the CPU, in a fresh process.

    Args:
        path: the `.tflite` file.
        backend: `cpu` or `cpu-noxnn`.
        threads: CPU threads of an inference.
        timeout_s: the process is killed after this.

    Returns:
        The ops' times, or why there are none.
    """
    reason = profiler.unavailable()
    if not reason and has_bit_ops(path) and backend.signature != DEFAULT:
        reason = "LiteRT's profiler takes no delegate, which the file's 1-bit ops need"
    if reason:
        return Profile(unavailable=reason)
    request = {
        "task": "profile",
        "paths": [os.path.abspath(path)],
        "backend": backend.to_json(),
        "threads": threads,
        "runs": RUNS,
        "seconds": SECONDS,
        "seed": 0,
    }
    try:
        answer = process.ask(request, timeout_s=timeout_s)
    except BenchmarkError as error:
        return Profile(unavailable=error.cause)
    return summary(answer)


def summary(answer: Mapping[str, Any]) -> Profile:
    """Sums up what `tfcompress.benchmark.profiler.op_times` measured."""
    import numpy as np

    names = answer["names"]
    times = np.asarray(answer["elapsed_us"], np.float64)
    if times.size == 0:
        return Profile(unavailable="LiteRT's profiler gave no op")
    sums = times.sum(1)
    calm = np.argsort(np.abs(sums - np.median(sums)), kind="stable")[: (len(sums) + 1) // 2]
    means = times[calm].mean(0) / 1e3
    total = float(means.sum()) or 1.0
    return Profile(
        ops=tuple(
            OpTime(name, float(ms), float(ms) / total)
            for name, ms in zip(names, means, strict=True)
        ),
        run_ms=float(np.median(answer["plain_us"])) / 1e3,
    )


def top_ops(profile: Profile, count: int = 10) -> str:
    """Lays out the kinds of ops that take longest in a table; or says why there is none."""
    if profile.unavailable:
        return f"op times unavailable: {profile.unavailable}"
    kinds = list(profile.by_name().items())
    total = sum(op.ms for op in profile.ops) or 1.0
    rows = [
        [name, f"{n:,}", f"{ms:,.4f}", f"{100 * ms / total:.1f}"] for name, (n, ms) in kinds[:count]
    ]
    rest = kinds[count:]
    if rest:
        ms = sum(each for _, (_, each) in rest)
        n = sum(each for _, (each, _) in rest)
        rows.append([f"{len(rest)} other kinds", f"{n:,}", f"{ms:,.4f}", f"{100 * ms / total:.1f}"])
    text = table(rows, ["op", "count", "ms", "%"], words=1)
    return f"{text}\nall ops: {total:,.4f} ms, {100 * (profile.coverage or 0):.0f}% of a whole run"
