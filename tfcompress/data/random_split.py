"""How many images of a class a random split holds out, and which options it takes."""

from __future__ import annotations

from tfcompress.errors import require


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
