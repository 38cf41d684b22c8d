"""Where the time of an inference goes: kinds of ops, before and after."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from tfcompress.report.result import RunResult


@dataclasses.dataclass(frozen=True)
class OpRow:
    """All ops of one kind. None where a file has none of it.

    Attributes:
        name: as the runtime calls it.
        count_before: ops of the baseline file.
        ms_before: their times' sum.
        count_after: ops of the compressed file.
        ms_after: their times' sum.
    """

    name: str
    count_before: int | None
    ms_before: float | None
    count_after: int | None
    ms_after: float | None


def op_rows(result: RunResult) -> list[OpRow]:
    """The ops of the first backend that they were timed on, the longest first; empty if none was.

    Each benchmark of a file may hold a `profile`, whose `ops` have a `name` and `ms` each.
    """
    for first, second in zip(result.benchmarks[::2], result.benchmarks[1::2], strict=False):
        before, after = _by_name(first), _by_name(second)
        if before and after:
            names = sorted(
                {*before, *after},
                key=lambda name: -max(before.get(name, (0, 0))[1], after.get(name, (0, 0))[1]),
            )
            missing = (None, None)
            return [
                OpRow(name, *before.get(name, missing), *after.get(name, missing)) for name in names
            ]
    return []


def _by_name(entry: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    """Op name to how many there are and the sum of their times."""
    ops = (entry.get("profile") or {}).get("ops") or ()
    counts = collections.Counter(op["name"] for op in ops)
    sums: collections.Counter[str] = collections.Counter()
    for op in ops:
        sums[op["name"]] += op["ms"]
    return {name: (counts[name], sums[name]) for name in counts}
