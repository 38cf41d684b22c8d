"""Narrows a network step by step, each time the layer that it can best do without.

NetAdapt (Yang et al. 2018, arXiv:1804.03230, section 3): in each step every layer is offered
narrower by as much as lowers what is measured by a given amount; each offer is trained for a short
while, and the most accurate one is gone on with.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras

from tfcompress.search.budget import Costs

# A layer's width is found by so many measurements at most, the narrowest one's among them.
_MOST_MEASURED = 5
# A width that takes less than the target by so much of what was to go is near enough.
_NEAR = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A network on the way.

    Attributes:
        number: 0 is the whole network.
        narrowed: the layer that was narrowed last; empty at the beginning.
        widths: how many channels each layer has that can lose some.
        costs: of its files, by storage, before the long training.
        value: what it is worth on the held-out examples.
        offers: of each layer that was offered narrower, what that was worth.
        seconds: that the step took.
    """

    number: int
    narrowed: str = ""
    widths: Mapping[str, int]
    costs: Mapping[str, Costs]
    value: float
    offers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Step:
        """Reads what `dataclasses.asdict` made."""
        costs = {name: Costs(**each) for name, each in values["costs"].items()}
        return cls(**{**values, "costs": costs})


class Networks(Protocol):
    """Makes, measures and trains narrower networks; the walk knows nothing else of them."""

    def widths(self, model: keras.Model) -> Mapping[str, tuple[int, Sequence[int]]]:
        """Returns, by layer, the channels that it has, and the smaller numbers, ascending."""
        ...

    def used(self, model: keras.Model, layer: str, width: int) -> float:
        """Measures what a network, with one layer narrower, takes of its budget."""
        ...

    def tuned(self, model: keras.Model, layer: str, width: int) -> tuple[keras.Model, float]:
        """Returns the narrower network, trained for a short while, and what it is worth."""
        ...


@dataclasses.dataclass(frozen=True)
class Offer:
    """A layer that could be narrower, and what the network then takes of its budget."""

    layer: str
    width: int
    used: float


def offers(
    networks: Networks, model: keras.Model, used: float, target: float, slopes: dict[str, float]
) -> list[Offer]:
    """Returns for each layer the widest form by which the network takes no more than a target.

    Where no layer alone can give so much, each that gives anything is offered as narrow as it was
    measured at its best.

    Args:
        networks: measures them.
        model: as it is.
        used: what it takes of its budget.
        target: what it should take.
        slopes: of each layer what a channel took when it was last measured; it is brought up to
            date, and spares measurements.
    """
    reaching: list[Offer] = []
    others: list[Offer] = []
    for layer, (width, narrower) in networks.widths(model).items():
        if not narrower:
            continue
        measure = functools.partial(networks.used, model, layer)
        known = measured_widths(narrower, (width, used), target, measure, slopes.get(layer))
        fitting = [count for count, taken in known.items() if taken <= target]
        count = max(fitting) if fitting else min(known, key=lambda each: (known[each], -each))
        if known[count] < used:
            slopes[layer] = (used - known[count]) / (width - count)
            (reaching if fitting else others).append(Offer(layer, count, known[count]))
    return reaching or others


def measured_widths(
    counts: Sequence[int],
    now: tuple[int, float],
    target: float,
    measure: Callable[[int], float],
    slope: float | None = None,
) -> dict[int, float]:
    """Measures some widths of a layer, to find the widest that is within a target.

    The next one is where a line through what is known reaches the target; in the middle where there
    is no such line, or where it says that there is none but what was found is far below the target,
    as with times, which go in steps.

    Args:
        counts: that the layer may have, ascending, all below its own.
        now: its own, and what the network takes with it.
        target: what it should take at most.
        measure: from a width to what the network takes with it.
        slope: what a channel takes, where that is known.

    Returns:
        What was measured, by width.
    """
    known: dict[int, float] = {}
    fits, fails = 0, len(counts)  # All below the one are within the target, none from the other on.
    near = target - _NEAR * (now[1] - target)
    while fits < fails and len(known) < _MOST_MEASURED:
        at = (fits + fails - 1) // 2
        if slope is not None and slope > 0:
            wanted = bisect.bisect_right(counts, now[0] - (now[1] - target) / slope) - 1
            if wanted >= fits or not fits:
                at = min(max(wanted, fits), fails - 1)
            elif known[counts[fits - 1]] >= near:
                break  # The next wider one is expected to be too wide.
        if len(known) == _MOST_MEASURED - 1 and not fits:
            at = 0
        taken = known[counts[at]] = measure(counts[at])
        if taken <= target:
            fits = at + 1
        else:
            fails = at
        if taken < now[1]:
            slope = (now[1] - taken) / (now[0] - counts[at])
    return known


def take_step(
    networks: Networks,
    model: keras.Model,
    used: float,
    target: float,
    slopes: dict[str, float],
    better: Callable[[float, float], bool],
) -> tuple[keras.Model, Offer, dict[str, float]] | None:
    """Returns the best of the narrower networks, what it is, and what each of them is worth.

    Args:
        networks: makes and trains them.
        model: the network as it is.
        used: what it takes of its budget.
        target: what it should take after the step.
        slopes: as `offers` has them.
        better: says whether the first value is better than the second.

    Returns:
        None where nothing narrower takes less. Of equal values that of the network that takes less.
    """
    best: tuple[keras.Model, Offer, float] | None = None
    values = {}
    for offer in offers(networks, model, used, target, slopes):
        tuned, value = networks.tuned(model, offer.layer, offer.width)
        values[offer.layer] = value
        if (
            best is None
            or better(value, best[2])
            or (value == best[2] and offer.used < best[1].used)
        ):
            best = tuned, offer, value
    return None if best is None else (best[0], best[1], values)
