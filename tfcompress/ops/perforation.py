"""Chooses the output positions that a perforated convolution computes, and their neighbours'.

Plain NumPy on whole numbers; no tensors.

Reference:
    Figurnov, Ibraimova, Vetrov, Kohli 2016, "PerforatedCNNs", arXiv:1504.08362, sections 3.1, 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcompress.ops.padding import output_length, same_pads


def spaced(size: int, count: int) -> list[int]:
    """Returns so many positions of an axis, as evenly spaced as whole numbers can be.

    >>> spaced(8, 4), spaced(7, 4), spaced(8, 5)
    ([1, 3, 5, 7], [0, 2, 4, 6], [0, 2, 4, 5, 7])
    """
    return [(2 * i + 1) * size // (2 * count) for i in range(count)]


def grid(height: int, width: int, rate: float, mask: str = "grid") -> tuple[list[int], list[int]]:
    """Returns the rows and columns whose crossings are a share `1 - rate` of all positions.

    >>> grid(8, 4, 0.75)
    ([1, 3, 5, 7], [1, 3])
    >>> grid(8, 4, 0.5, "rows")
    ([1, 3, 5, 7], [0, 1, 2, 3])

    Args:
        height: of the image.
        width: likewise.
        rate: the share of positions that aren't computed.
        mask: `grid` takes the same share of rows and columns, `rows` all columns, `columns` all
            rows.
    """
    left = 1 - rate
    shares = {"grid": (left**0.5, left**0.5), "rows": (left, 1.0), "columns": (1.0, left)}[mask]
    rows, columns = (
        spaced(size, max(1, round(size * share)))
        for size, share in zip((height, width), shares, strict=True)
    )
    return rows, columns


def scattered(height: int, width: int, rate: float, seed: int) -> list[int]:
    """Returns random positions, counted row by row: a share `1 - rate` of all.

    >>> len(scattered(8, 4, 0.75, seed=0))
    8
    """
    every = height * width
    count = max(1, round(every * (1 - rate)))
    return np.sort(np.random.default_rng(seed).permutation(every)[:count]).tolist()


def highest(values: np.ndarray, rate: float, seed: int) -> list[int]:
    """Returns the positions with the highest values, counted row by row: a share `1 - rate` of all.

    Of equal values random ones.

    >>> highest(np.array([[3, 1], [2, 4]]), 0.5, seed=0)
    [0, 3]
    """
    order = np.random.default_rng(seed).permutation(values.size)
    order = order[np.argsort(-values.ravel()[order], kind="stable")]
    return np.sort(order[: max(1, round(values.size * (1 - rate)))]).tolist()


def window_counts(
    sizes: Sequence[int], windows: Sequence[int], strides: Sequence[int], padding: str
) -> np.ndarray:
    """Returns how many windows of a pooling hold each position: (height, width).

    >>> window_counts((5, 1), (3, 1), (2, 1), "valid").ravel().tolist()
    [1, 1, 2, 1, 1]
    """
    axes = []
    for size, window, stride in zip(sizes, windows, strides, strict=True):
        before = same_pads(size, window, stride)[0] if padding == "same" else 0
        count = output_length(size, window, stride, padding)
        starts = np.arange(count)[:, None] * stride - before
        at = np.arange(size)
        axes.append(((starts <= at) & (at < starts + window)).sum(0))
    return np.outer(*axes)


def step(positions: list[int]) -> int | None:
    """Returns the distance from each position to the next; None if they differ.

    >>> step([1, 3, 5]), step([4]), step([0, 2, 3])
    (2, 1, None)
    """
    distances = set(np.diff(positions).tolist()) or {1}
    return distances.pop() if len(distances) == 1 else None


def nearest(size: int, positions: list[int]) -> list[int]:
    """Returns, for each pixel of an axis, the index of the nearest of these positions.

    Of two that are as near, the later one.

    >>> nearest(8, [1, 3, 5, 7])
    [0, 0, 1, 1, 2, 2, 3, 3]
    """
    centres = np.asarray(positions)
    borders = (centres[1:] + centres[:-1]) / 2
    return np.searchsorted(borders, np.arange(size), side="right").tolist()


def nearest_on_plane(height: int, width: int, positions: list[int]) -> list[int]:
    """Returns, for each pixel row by row, the index of the nearest of these positions.

    >>> nearest_on_plane(2, 3, [0, 5])
    [0, 0, 1, 0, 1, 1]
    """
    from scipy import ndimage

    missing = np.ones(height * width, bool)
    missing[positions] = False
    found = ndimage.distance_transform_edt(
        missing.reshape(height, width), return_distances=False, return_indices=True
    )
    pixels = found[0] * width + found[1]
    return np.searchsorted(positions, pixels.ravel()).tolist()
