"""Finds the first values that clustered weights share, in NumPy.

`linear` and `density` equal TFMOT's to the last bit (`clustering_centroids.py`), and `kmeans++`
chooses the weights that it chooses: by TensorFlow's random numbers, from its seed. Only where two
draws are equally good, but for rounding, it may take the other one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

# TFMOT's seed of kmeans++.
_SEED = 9
# Where `density` looks at the distribution of the weights.
_NODES = 30


def first_values(
    weights: np.ndarray,
    count: int,
    method: str,
    *,
    with_zero: bool = False,
    per_channel: bool = False,
) -> np.ndarray:
    """Returns values around the weights, from which a training of shared values begins.

    Args:
        weights: of any shape.
        count: of the values.
        method: `kmeans++`, `density` (equal shares of the weights), `linear` (evenly spaced) or
            `random`.
        with_zero: whether 0 is one of them; the others are shared out between the weights below
            and above it.
        per_channel: whether each channel, the last axis, has values of its own.

    Returns:
        float32 (count,), or (channels, count).
    """
    weights = np.asarray(weights, "float32")
    if per_channel:
        channels = np.moveaxis(weights, -1, 0)
        each = [first_values(one, count, method, with_zero=with_zero) for one in channels]
        return np.stack(each)
    find = _METHODS[method]
    if not with_zero:
        return _filled(find(weights.ravel(), count, False), count)
    below, above = weights[weights < 0], weights[weights > 0]
    if not below.size + above.size:
        return np.zeros(count, "float32")
    # TensorFlow rounds halves to even numbers.
    left = int(np.rint((count - 1) * (below.size / (below.size + above.size))))
    none, zero = np.zeros(0, "float32"), np.zeros(1, "float32")
    below_zero = find(below, left, True) if left else none
    above_zero = find(above, count - 1 - left, True) if left < count - 1 else none
    return _filled(np.concatenate([below_zero, zero, above_zero]), count)


def _filled(values: np.ndarray, count: int) -> np.ndarray:
    """Returns so many values: where there were too few weights, the last one again."""
    return np.pad(values, (0, count - len(values)), mode="edge")


def _linspace(start: np.float32, stop: np.float32, count: int) -> np.ndarray:
    """Returns evenly spaced values, rounded as by `tf.linspace`."""
    step = (stop - start) / np.float32(max(count - 1, 1))
    between = start + step * np.arange(1, count - 1, dtype="float32")
    return np.concatenate([[start], between, [stop]]).astype("float32")[:count]


def _linear(weights: np.ndarray, count: int, around_zero: bool) -> np.ndarray:
    return _linspace(weights.min(), weights.max(), count)


def _random(weights: np.ndarray, count: int, around_zero: bool) -> np.ndarray:
    random = np.random.default_rng(_SEED)
    return random.uniform(weights.min(), weights.max(), count).astype("float32")


def _density(weights: np.ndarray, count: int, around_zero: bool) -> np.ndarray:
    """Returns the ends of equal shares of the weights, on a grid."""
    low, high = weights.min(), weights.max()
    gap = np.float32(0.01)
    if around_zero:
        gap = min(gap, min(abs(low), abs(high)) / np.float32(2))
    grid = _linspace(low - gap, high + gap, _NODES)
    below = np.searchsorted(np.sort(weights), grid, side="right")  # Weights up to each node.
    shares = below.astype("float32") / np.float32(weights.size)
    wanted = _linspace(np.float32(0.01), np.float32(1), count)
    nodes = np.minimum(np.searchsorted(shares, wanted, side="right"), _NODES - 1)
    # TFMOT interpolates between this node and the one before, and solves for the share at this
    # one: that is the node itself, but for rounding.
    x, y, before = grid[nodes], shares[nodes], shares[np.maximum(nodes - 1, 0)]
    slope = (before - y) / np.float32(0.001)
    with np.errstate(divide="ignore", invalid="ignore"):
        solved = (y - (y - x * slope)) / slope
    return np.where(before == y, x, solved).astype("float32")


def _kmeans_plus_plus(weights: np.ndarray, count: int, around_zero: bool) -> np.ndarray:
    """Returns weights that are far from one another: likely by the square of their distance.

    Of several draws the one is taken that leaves the smallest sum of squared distances.

    Reference:
        Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding"; draws and
        rounding are those of TensorFlow's `KmeansPlusPlusInitialization`.
    """
    if count >= len(weights):
        return weights
    random = _Philox(_SEED)
    draws = 3 + int(math.log(count))
    halves = np.float32(0.5) * (weights * weights)
    distances = np.full(len(weights), np.inf, "float32")
    chosen: list[int] = []
    for number in range(count):
        sums = np.cumsum(distances, dtype="float32") if number else distances
        best, best_index, best_distances = math.inf, 0, distances
        for _ in range(draws):
            index = _drawn(random, sums, chosen)
            to_it = (halves - weights * weights[index]) + halves[index]
            its_distances = np.minimum(distances, to_it)
            total = float(np.sum(its_distances, dtype="float64"))
            if total < best:
                best, best_index, best_distances = total, index, its_distances
        distances = best_distances
        chosen.append(best_index)
    return weights[chosen]


def _drawn(random: _Philox, sums: np.ndarray, chosen: list[int]) -> int:
    """Draws a weight that isn't chosen yet.

    Args:
        random: the generator.
        sums: cumulated distances to what is chosen.
        chosen: indices.
    """
    if not chosen:
        return random.below(len(sums))
    while True:
        total = sums[-1]
        if total > 0:
            index = int(np.searchsorted(sums, random.share() * total, side="right"))
        else:
            index = random.below(len(sums))
        if index not in chosen:
            return min(index, len(sums) - 1)


class _Philox:
    """Draws TensorFlow's random numbers: Philox4x32-10, as `SimplePhilox` hands them out.

    Reference:
        Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """

    def __init__(self, seed: int) -> None:
        self._words = self._make_words(seed)

    @staticmethod
    def _make_words(seed: int) -> Iterator[int]:
        mask = 2**32 - 1
        for count in range(2**64):
            a, b, c, d = count & mask, count >> 32, 0, 0
            key0, key1 = seed & mask, seed >> 32
            for _ in range(10):
                first, second = a * 0xD2511F53, c * 0xCD9E8D57
                a, b = (second >> 32) ^ b ^ key0, second & mask
                c, d = (first >> 32) ^ d ^ key1, first & mask
                key0, key1 = (key0 + 0x9E3779B9) & mask, (key1 + 0xBB67AE85) & mask
            yield from (a, b, c, d)

    def share(self) -> np.float32:
        """Returns a number in [0, 1): 23 bits."""
        return np.float32((next(self._words) & (2**23 - 1)) / 2**23)

    def below(self, limit: int) -> int:
        """Returns a whole number below the limit, each with the same probability."""
        while True:
            bits = next(self._words) | next(self._words) << 32
            if not limit & (limit - 1):
                return bits & (limit - 1)
            if bits >= (2**64 - 1) % limit + 1:
                return bits % limit


_METHODS: dict[str, Callable[[np.ndarray, int, bool], np.ndarray]] = {
    "kmeans++": _kmeans_plus_plus,
    "density": _density,
    "linear": _linear,
    "random": _random,
}
