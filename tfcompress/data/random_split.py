"""Splits examples at random, each class by itself, and says which options that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfcompress.errors import require

if TYPE_CHECKING:
    import numpy as np


def check_split_options(test_fraction: float, split_seed: int) -> None:
    """Refuses a random split that would leave one side empty, or a seed that can't be used.

    Raises:
        InputError: a fraction outside (0, 1), or a negative seed.
    """
    require(0 < test_fraction < 1, f"test_fraction must be in (0, 1); got {test_fraction}")
    require(split_seed >= 0, f"split_seed must be 0 or more; got {split_seed}")


def held_out_count(members: int, test_fraction: float) -> int:
    """Returns how many of 2 or more members are for testing: at least one, and not all.

    >>> held_out_count(10, 0.2), held_out_count(2, 0.01), held_out_count(2, 0.99)
    (2, 1, 1)
    """
    return min(max(round(members * test_fraction), 1), members - 1)


def split_groups(
    groups: Sequence[np.ndarray], test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divides the members of each group at random.

    Args:
        groups: the positions of each group's 2 or more members.
        test_fraction: the share of each group that is held out, rounded.
        seed: of the choice.

    Returns:
        The positions that stay and those that are held out, each ascending.
    """
    import numpy as np

    rest, held_out = [], []
    for number, members in enumerate(groups):
        # A generator a group: members of one don't change the choice within another.
        order = np.random.default_rng([seed, number]).permutation(members)
        count = held_out_count(len(order), test_fraction)
        held_out.append(order[:count])
        rest.append(order[count:])
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(held_out))


def random_split_sentence(
    test_fraction: float, seed: int, part: str = "", *, by_class: bool = True
) -> str:
    """Returns what a report says of a random split.

    >>> random_split_sentence(0.2, 0, "the photographs")
    'At random within each class of the photographs, 20% for testing, seed 0.'
    >>> random_split_sentence(0.25, 3, by_class=False)
    'At random, 25% for testing, seed 3.'
    """
    within = " within each class" if by_class else ""
    of_part = f" of {part}" if part else ""
    return f"At random{within}{of_part}, {test_fraction:.0%} for testing, seed {seed}."
