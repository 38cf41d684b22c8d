"""Chooses how many bits each layer gets: the least harm for a price, by a Lagrange multiplier.

```
minimise  sum_i damage_i(b_i) + multiplier * sum_i price_i(b_i)
```

For one multiplier each layer chooses alone, and what it chooses lies on the lower convex hull of
its points (price, damage). As the multiplier falls, one layer after another goes a step along its
hull: the steps of all layers, sorted by what a unit of price takes away of the damage, are all the
answers there are. Each is the best for its own total price (Everett 1963, "Generalized Lagrange
Multiplier Method"; Shoham and Gersho 1988, for bits). A total between two of them may have a
better answer, by less than one layer's step; which total is allowed isn't known before files are
judged, so that a whole series is worth more than an exact answer for one.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Choice:
    """One way to write a layer's weights.

    Attributes:
        bits: of a weight.
        price: what is to be saved, such as bytes in the file.
        damage: what it does to the outputs, in a measure that adds up over layers, such as the
            mean square of the change.
    """

    bits: int
    price: float
    damage: float


def hull(choices: Iterable[Choice]) -> list[Choice]:
    """Returns the choices that some multiplier picks, the cheapest first.

    Each costs more than the one before it, harms less, and takes away less for a unit of price.
    """
    best: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: (choice.price, choice.damage)):
        if best and choice.damage >= best[-1].damage:
            continue
        while len(best) > 1 and _gain(best[-2], best[-1]) <= _gain(best[-1], choice):
            best.pop()
        best.append(choice)
    return best


def allotments(choices: Mapping[str, Iterable[Choice]]) -> list[dict[str, Choice]]:
    """Returns every allotment that some multiplier picks, from the cheapest to the least harmful.

    Args:
        choices: of each layer, one at least.
    """
    hulls = {name: hull(of_layer) for name, of_layer in choices.items()}
    steps = [
        (_gain(before, after), name, after)
        for name, points in hulls.items()
        for before, after in itertools.pairwise(points)
    ]
    chosen = {name: points[0] for name, points in hulls.items()}
    series = [chosen]
    for _, name, after in sorted(steps, key=lambda step: -step[0]):
        chosen = chosen | {name: after}
        series.append(chosen)
    return series


def _gain(before: Choice, after: Choice) -> float:
    """Returns the damage that a unit of price takes away."""
    return (before.damage - after.damage) / (after.price - before.price)
