"""Shows where the time of an inference goes, by kinds of ops, before and after."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from tfcompress.report.result import RunResult


@dataclasses.dataclass(frozen=True)
class OpRow:
    """All ops of one kind. None where a file has none of them.

    Attributes:
        name: the runtime's name for the kind.
        count_before: ops of the baseline file.
        ms_before: the sum of their times.
        count_after: ops of the compressed file.
        ms_after: the sum of their times.
    """

    name: str
    count_before: int | None
    ms_before: float | None
    count_after: int | None
    ms_after: float | None


def op_rows(result: RunResult) -> list[OpRow]:
    """Compares the ops of both files on the first backend where they were timed.

    Each benchmark of a file may hold a `profile`, whose `ops` have a `name` and `ms` each.

    Returns:
        The kinds of ops, the longest first; empty if no ops were timed.
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
    """Returns the count and the milliseconds of the ops of each name."""
    ops = (entry.get("profile") or {}).get("ops") or ()
    counts = collections.Counter(op["name"] for op in ops)
    sums: collections.Counter[str] = collections.Counter()
    for op in ops:
        sums[op["name"]] += op["ms"]
    return {name: (counts[name], sums[name]) for name in counts}
