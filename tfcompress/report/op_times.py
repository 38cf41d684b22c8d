"""Shows where the time of an inference goes, by kinds of ops, before and after."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from tfcompress.report.result import RunResult
from tfcompress.report.table import file_names


@dataclasses.dataclass(frozen=True)
class OpRow:
    """All ops of one kind.

    Attributes:
        name: the runtime's name for the kind.
        times: of the baseline's file and then of each compressed one the number of these ops and
            the sum of their times in milliseconds; None where a file has none of them.
    """

    name: str
    times: tuple[tuple[int, float] | None, ...]


def op_rows(result: RunResult) -> list[OpRow]:
    """Compares the ops of all files on the first backend where they were timed.

    Each benchmark of a file may hold a `profile`, whose `ops` have a `name` and `ms` each.

    Returns:
        The kinds of ops, the longest first; empty if no ops were timed.
    """
    count = 1 + len(result.files)
    for at in range(0, len(result.benchmarks) - count + 1, count):
        files = [_by_name(entry) for entry in result.benchmarks[at : at + count]]
        if files[0] and any(files[1:]):
            longest = {
                name: max(file.get(name, (0, 0.0))[1] for file in files)
                for file in files
                for name in file
            }
            return [
                OpRow(name, tuple(file.get(name) for file in files))
                for name in sorted(longest, key=lambda name: -longest[name])
            ]
    return []


def untimed(result: RunResult) -> dict[str, str]:
    """Returns why the ops of a compressed file have no times, by the file's name in the tables."""
    entries = result.benchmarks[1 : 1 + len(result.files)]
    reasons = [(entry.get("profile") or {}).get("unavailable") for entry in entries]
    return {name: why for name, why in zip(file_names(result), reasons, strict=False) if why}


def _by_name(entry: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    """Returns the count and the milliseconds of the ops of each name."""
    ops = (entry.get("profile") or {}).get("ops") or ()
    counts = collections.Counter(op["name"] for op in ops)
    sums: collections.Counter[str] = collections.Counter()
    for op in ops:
        sums[op["name"]] += op["ms"]
    return {name: (counts[name], sums[name]) for name in counts}
