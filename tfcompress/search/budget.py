"""What a compressed file may cost at most: bytes, time, memory, accuracy."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from tfcompress.errors import InputError, require, unknown_name
from tfcompress.metric import ACCURACY, Metric

Kind = Literal["size", "tfz", "latency", "memory", "drop"]

_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2}
_NUMBER = re.compile(r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([A-Za-z]*)", re.IGNORECASE)
# What each budget takes, with an example.
KINDS: dict[str, str] = {
    "size": "the file's bytes, as in size=100KiB, or its share of the float file's, size=0.1",
    "tfz": "the bytes of the file in its lossless container, as in tfz=60KiB, or a share",
    "latency": "its time as a share of the float file's, both taken in turns, as in latency=0.5; "
    "latency=2ms holds on this machine alone",
    "memory": "the most memory that an inference takes, as in memory=2MiB, or a share",
    "drop": "what it may lose to the float file: points of accuracy, percent of other metrics, as "
    "in drop=0.5",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """What a file costs, and what the float file does. None is what wasn't measured.

    Attributes:
        size: bytes.
        tfz: bytes of the container.
        latency_ms: milliseconds, the median.
        latency_ratio: to the float file, taken in turns.
        memory: bytes.
        value: of the metric, on held-out examples.
    """

    size: int | None = None
    tfz: int | None = None
    latency_ms: float | None = None
    latency_ratio: float | None = None
    memory: int | None = None
    value: float | None = None


@dataclasses.dataclass(frozen=True)
class Budget:
    """One limit that a file must keep.

    Attributes:
        kind: what it is of: one of `KINDS`.
        limit: in bytes, milliseconds, points or percent, or as a share of the float file's.
        share: whether it is such a share.
        text: as the user wrote it.
    """

    kind: str
    limit: float
    share: bool
    text: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads `size=100KiB`, `latency=0.5`, `latency=2ms` or `drop=0.5`.

        Raises:
            InputError: an unknown kind, no number, a negative one, or a unit that isn't its own.

        >>> Budget.parse("size=100KiB").limit, Budget.parse("latency=0.5").share
        (102400.0, True)
        """
        kind, equals, amount = (part.strip() for part in text.partition("="))
        if kind not in KINDS:
            raise unknown_name("budget", kind, KINDS)
        found = _NUMBER.fullmatch(amount) if equals else None
        if found is None:
            raise InputError(f"--budget {kind} takes {KINDS[kind]}; got '{text}'")
        number, unit = float(found[1]), found[2].upper()
        require(
            math.isfinite(number) and (number > 0 or (kind == "drop" and number == 0)),
            f"--budget {kind} must be positive; got '{text}'",
        )
        if kind == "drop":
            known, share = {"": 1.0, "POINTS": 1.0}, False
        elif kind == "latency":
            known, share = {"": 1.0, "MS": 1.0}, not unit
        else:
            # Whole numbers above 1 without a unit are bytes.
            known, share = {"": 1.0, **_BYTES}, not unit and number <= 1
        if unit not in known:
            raise InputError(f"--budget {kind} takes {KINDS[kind]}; got '{text}'")
        return cls(kind, number * known[unit], share, f"{kind}={amount}")

    @property
    def needs_training(self) -> bool:
        """Whether a network must be trained before it is known whether its file keeps the limit."""
        return self.kind in ("drop", "tfz")

    def used(self, file: Costs, floats: Costs, metric: Metric = ACCURACY) -> float | None:
        """Returns what a file takes of the budget: at most 1 is within it.

        Args:
            file: what it costs.
            floats: what the float file costs.
            metric: says which values are better.

        Returns:
            The cost divided by the limit, of `drop` 1 plus the points above it; None if it wasn't
            measured.

        >>> Budget.parse("size=0.5").used(Costs(size=30), Costs(size=100))
        0.6
        >>> Budget.parse("drop=0.5").used(Costs(value=0.90), Costs(value=0.91))
        1.5
        """
        if self.kind == "drop":
            if file.value is None or floats.value is None:
                return None
            change = metric.change(floats.value, file.value)
            if change is None:
                return None
            lost = -change if metric.higher_is_better else change
            return 1 + lost - self.limit
        if self.kind == "latency":
            cost = file.latency_ratio if self.share else file.latency_ms
            return None if cost is None else cost / self.limit
        cost = getattr(file, self.kind)
        whole = getattr(floats, self.kind) if self.share else 1
        return None if cost is None or not whole else cost / whole / self.limit


def parse_budgets(texts: Iterable[str]) -> tuple[Budget, ...]:
    """Reads several budgets, one of a kind at most.

    Raises:
        InputError: as `Budget.parse`, or a kind is given twice.
    """
    budgets: dict[str, Budget] = {}
    for text in texts:
        budget = Budget.parse(text)
        require(budget.kind not in budgets, f"--budget {budget.kind} is given twice")
        budgets[budget.kind] = budget
    return tuple(budgets.values())


def overruns(
    budgets: Iterable[Budget], file: Costs, floats: Costs, metric: Metric = ACCURACY
) -> Mapping[str, float]:
    """Returns, by kind, what a file takes of each budget beyond it: 0.1 is a tenth too much.

    Those that it keeps, and those whose cost wasn't measured, are missing.
    """
    taken = {budget.kind: budget.used(file, floats, metric) for budget in budgets}
    return {kind: used - 1 for kind, used in taken.items() if used is not None and used > 1}
