"""Finds a codebook for blocks of weights: k-means in NumPy, weighted by what the layer takes.

`ops.centroids` and `ops.clustering` share single weights; here a cluster's members are vectors.
"""

from __future__ import annotations

import numpy as np

# Points whose distances are in memory at a time.
_CHUNK = 2**14
# By so much two halves of a cluster are moved apart, as a share of the points' spread.
_APART = 1e-3
# Of the mean of a layer's second moments: what is added to each, so that none is 0.
_RIDGE = 1e-3


def codebook(
    blocks: np.ndarray,
    count: int,
    *,
    moments: np.ndarray | None = None,
    rounds: int = 30,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the blocks that stand best for all, and the number of the one for each.

    ```
    minimises   sum over p of (v_p - c)^T M (v_p - c),  c = book[code_p]
    ```

    M = mean of x x^T over what the blocks are multiplied with, so that the layer's outputs are
    kept, not its weights. With M = R R^T this is k-means of the v_p R; the mean of a cluster's
    members is its best block for any M.

    Args:
        blocks: float32 (blocks, size).
        count: of blocks in the book; at most as many as there are.
        moments: M, (size, size); None for the identity.
        rounds: of assigning and averaging, at most.
        seed: of the draws with which it begins.

    Returns:
        float32 (count, size), int32 (blocks,).

    Reference:
        Stock, Joulin, Gribonval, Graham, Jégou 2020, "And the Bit Goes Down", arXiv:1907.05686,
        section 3.2; without weighting Gong, Liu, Yang, Bourdev 2014, arXiv:1412.6115, section 3.3.
    """
    blocks = np.asarray(blocks, np.float32)
    points = blocks if moments is None else blocks @ _root(moments)
    _, codes = kmeans(points, first_centers(points, count, seed), rounds=rounds, seed=seed)
    return means(blocks, codes, count)[0], codes


def _root(moments: np.ndarray) -> np.ndarray:
    """Returns R with R R^T = M, slightly raised so that it has full rank."""
    moments = np.asarray(moments, np.float64)
    ridge = _RIDGE * float(np.trace(moments)) / len(moments) or 1.0
    return np.linalg.cholesky(moments + ridge * np.eye(len(moments))).astype(np.float32)


def first_centers(points: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Draws points to begin with, each by its squared distance to those before (k-means++).

    Reference:
        Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding".
    """
    random = np.random.default_rng(seed)
    squares = np.einsum("ij,ij->i", points, points)
    index = int(random.integers(len(points)))
    chosen, distances = [index], np.full(len(points), np.inf, np.float32)
    while len(chosen) < count:
        to_it = squares - points @ (2 * points[index]) + squares[index]
        distances = np.minimum(distances, np.maximum(to_it, 0))
        sums = np.cumsum(distances, dtype=np.float64)
        place = int(np.searchsorted(sums, random.random() * sums[-1], side="right"))
        index = min(place, len(points) - 1)  # All distances may be 0.
        chosen.append(index)
    return points[chosen]


def kmeans(
    points: np.ndarray, centers: np.ndarray, *, rounds: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Moves centers to the means of the points next to them, until none moves (Lloyd).

    A center that has no points takes half of the largest cluster's.

    Args:
        points: float32 (points, size).
        centers: to begin with, (centers, size).
        rounds: at most; 1 or more.
        seed: of the directions in which clusters are cut in two.

    Returns:
        The centers, float32, and for each point the nearest center's number, int32.

    Reference:
        Empty clusters: Stock et al. 2020, arXiv:1907.05686, section 4.1.
    """
    random = np.random.default_rng(seed)
    spread = float(points.std()) or 1.0
    codes = nearest(points, centers)
    for _ in range(rounds):
        centers, sizes = means(points, codes, len(centers))
        for empty in np.flatnonzero(sizes == 0):
            largest = int(sizes.argmax())
            apart = _APART * spread * random.standard_normal(centers.shape[1], np.float32)
            centers[empty], centers[largest] = centers[largest] + apart, centers[largest] - apart
            sizes[empty] = sizes[largest] / 2
            sizes[largest] /= 2
        before, codes = codes, nearest(points, centers)
        if np.array_equal(codes, before):
            break
    return centers, codes


def means(points: np.ndarray, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean of each cluster's points, 0 where there are none, and their numbers."""
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    sums = [np.bincount(codes, column, minlength=count) for column in points.T]
    return (np.stack(sums, 1) / np.maximum(sizes, 1)[:, None]).astype(np.float32), sizes


def nearest(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Returns the number of the center nearest to each point: int32."""
    halves = 0.5 * np.einsum("ij,ij->i", centers, centers)
    codes = np.empty(len(points), np.int32)
    for start in range(0, len(points), _CHUNK):
        some = slice(start, start + _CHUNK)
        codes[some] = (points[some] @ centers.T - halves).argmax(1)
    return codes


def distortion(points: np.ndarray, centers: np.ndarray, codes: np.ndarray) -> float:
    """Returns the mean squared distance of points to their centers."""
    return float(np.mean(np.sum((points - centers[codes]) ** 2, 1, dtype=np.float64)))
