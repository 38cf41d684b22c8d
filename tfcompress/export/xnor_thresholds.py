"""Turns what follows an integer sum, up to a sign or a level, into comparisons of the sum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfcompress.export.xnor_match import BinaryOp


def bits_of(levels: tuple[float, ...]) -> int:
    """Returns how many bits hold how many of these numbers a value reaches."""
    return len(levels).bit_length()


def thresholds(
    binary: BinaryOp,
    after: Callable[[np.ndarray], np.ndarray],
    levels: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the integers that each filter's sum of signs is compared with.

    Args:
        binary: gives scale and bias.
        after: what follows them, on float32 (filters,); each value rises with its sum throughout,
            or falls.
        levels: what that is compared with in turn, lowest first: 0 for signs.

    Returns:
        int32 (filters,), of several levels (levels, filters), and bool (filters,): the value is
        below a level where the sum is below its threshold, or, if it is turned, where it is not.
    """
    most = binary.most
    ends = np.array([-most, most])[:, None] + np.zeros(len(binary.scale), "int64")

    def values(sums: np.ndarray) -> np.ndarray:
        return after(sums.astype("float32") * binary.scale + binary.bias)

    turned = _falls(values(ends[0]), values(ends[1]), levels)
    found = [_threshold(values, ends[0], ends[1], np.float32(level), turned) for level in levels]
    return (found[0] if len(levels) == 1 else np.stack(found)), turned


def _falls(low: np.ndarray, high: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Returns where the lowest sum reaches more levels than the highest one."""
    reached = [
        sum((end >= np.float32(level)).astype(int) for level in levels) for end in (low, high)
    ]
    return np.asarray(reached[0] > reached[1])


def _threshold(
    values: Callable[[np.ndarray], np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    level: np.float32,
    turned: np.ndarray,
) -> np.ndarray:
    """Returns the first sum of each filter that is on the highest one's side of a level."""
    lowest, highest = low[0], high[0]
    first, last = values(low) >= level, values(high) >= level
    # The side changes once, between low and high.
    while (high - low).max() > 1:
        middle = (low + high) // 2
        same = (values(middle) >= level) == last
        low, high = np.where(same, low, middle), np.where(same, middle, high)
    always = np.where(last ^ turned, lowest, highest + 1)
    return np.where(first != last, high, always).astype("int32")
