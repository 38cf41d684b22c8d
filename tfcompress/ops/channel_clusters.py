"""Decomposes trained kernels by clusters of their channels: NumPy in, factors and their error out.

Denton, Zaremba, Bruna, LeCun, Fergus 2014, "Exploiting Linear Structure Within Convolutional
Networks for Efficient Evaluation", arXiv:1404.0736, sections 3.2 and 3.3.
"""

from __future__ import annotations

import math

import numpy as np

from tfcompress.ops import kmeans
from tfcompress.ops.factorize import Factors, balanced, check, cp, relative_error

Array = np.ndarray

# Of assigning and updating, at most; kernels of trained networks settled in less than ten.
_ROUNDS = 30


def monochromatic(kernel: Array, colors: int, *, seed: int = 0) -> Factors:
    """Approximates each filter by one colour times one spatial kernel; filters share the colours.

    ```
    K[i, j, c, n] ~ P[c, color[n]] * S[i, j, n]
    ```

    Each filter's best colour alone is the first left singular vector of its (channels, taps). Here
    filters and colours are chosen in turns, as k-means does: each filter takes the colour that
    keeps most of its norm, each colour becomes the one that keeps most of its filters' norms. The
    paper clusters the singular vectors, whose signs are arbitrary, and all of which count alike.

    Args:
        kernel: (height, width, channels, filters).
        colors: different ones, at most; more than filters are never made.
        seed: of the colours to begin with.

    Returns:
        P (channels, colors), S (height, width, filters) and color (filters,).

    Raises:
        ValueError: the number of colours isn't positive, or the kernel isn't finite.
    """
    check(kernel, 4, colors)
    height, width, channels, filters = kernel.shape
    colors = min(colors, filters)
    slices = kernel.astype(np.float64).reshape(-1, channels, filters).transpose(2, 1, 0)
    squares = slices @ slices.transpose(0, 2, 1)  # (filters, channels, channels)
    own = _leading(squares)  # (filters, channels)
    color, best = np.arange(filters), own
    if colors < filters:
        points = own * np.sqrt(np.trace(squares, axis1=1, axis2=2))[:, None]
        best = kmeans.first_centers(points.astype("f4"), colors, seed).astype(np.float64)
        best /= np.maximum(np.linalg.norm(best, axis=1, keepdims=True), 1e-30)
        for _ in range(_ROUNDS):
            kept = np.einsum("kc,ncd,kd->nk", best, squares, best, optimize=True)
            before, color = color, kept.argmax(1)
            lost = np.trace(squares, axis1=1, axis2=2) - kept.max(1)
            for empty in np.setdiff1d(np.arange(colors), color):
                worst = int(lost.argmax())
                color[worst], lost[worst] = empty, 0.0
            if np.array_equal(color, before):
                break
            sums = np.stack([squares[color == k].sum(0) for k in range(colors)])
            best = _leading(sums)
    spatial = np.einsum("nc,nct->nt", best[color], slices)
    # A colour and the spatial kernels of its filters get equal norms.
    norms = np.array([np.linalg.norm(spatial[color == k]) for k in range(colors)])
    members = np.maximum(np.bincount(color, minlength=colors), 1)
    roots = np.sqrt(np.maximum(norms / np.sqrt(members), 1e-30))
    best, spatial = best * roots[:, None], spatial / roots[color][:, None]
    product = (best[color][:, :, None] * spatial[:, None]).transpose(2, 1, 0)
    error = relative_error(kernel, product.reshape(kernel.shape))
    taps = spatial.T.reshape(height, width, filters)
    return Factors((best.T.astype("f4"), taps.astype("f4"), color.astype("f4")), error)


def _leading(squares: Array) -> Array:
    """Returns the eigenvector of the largest eigenvalue of each matrix, its largest part above 0.

    >>> _leading(np.array([[[4.0, 0.0], [0.0, 1.0]]])).tolist()
    [[1.0, 0.0]]
    """
    vectors = np.linalg.eigh(squares)[1][..., -1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(-1)[..., None], -1)
    return vectors * np.where(largest < 0, -1.0, 1.0)


def biclustered(
    kernel: Array,
    rank: int,
    clusters: tuple[int, int],
    *,
    seed: int = 0,
    iterations: int = 100,
) -> Factors:
    """Puts channels and filters into clusters, and approximates each block by outer products.

    ```
    K[i, j, c, n] ~ sum_k P[c, h, k] * S[i, j, g, h, k] * Q[g, k, n],  g, h: clusters of c and n
    ```

    Channels are near to one another whose weights are, over all taps and filters; filters
    likewise. The clusters of each are of equal sizes, but for the remainder. The outer products of
    a block are found together, by `factorize.cp` with all taps as one axis; the paper finds one
    after the other.

    Args:
        kernel: (height, width, channels, filters).
        rank: outer products of each block.
        clusters: G of the channels, H of the filters.
        seed: of the random starts.
        iterations: of the alternating least squares, at most.

    Returns:
        P (channels, H * rank), S (height, width, G * H * rank), Q (G * rank, filters), the
        channels' clusters (channels,) and the filters' (filters,).

    Raises:
        ValueError: the rank isn't positive, or the kernel isn't finite.
    """
    check(kernel, 4, rank)
    height, width, channels, filters = kernel.shape
    (inputs, outputs), taps = clusters, height * width
    slices = kernel.reshape(taps, channels, filters)
    by_channel = even_clusters(slices.transpose(1, 0, 2).reshape(channels, -1), inputs, seed)
    by_filter = even_clusters(slices.transpose(2, 0, 1).reshape(filters, -1), outputs, seed)
    first = np.zeros((channels, outputs, rank), "f4")
    middle = np.zeros((taps, inputs, outputs, rank), "f4")
    last = np.zeros((inputs, rank, filters), "f4")
    lost = 0.0
    for g, h in np.ndindex(inputs, outputs):
        rows, columns = np.flatnonzero(by_channel == g), np.flatnonzero(by_filter == h)
        if not rows.size or not columns.size:
            continue
        block = slices[:, None, rows[:, None], columns]  # (taps, 1, channels, filters)
        found = cp(block, rank, seed=seed, iterations=iterations)
        a, b, p, q = found.factors
        a, p, q = balanced((a * b, p, q))
        used = p.shape[1]
        first[rows, h, :used], middle[:, g, h, :used], last[g, :used, columns] = p, a, q
        lost += (found.error * float(np.linalg.norm(block))) ** 2
    error = math.sqrt(lost) / (float(np.linalg.norm(kernel)) or 1.0)
    factors = (
        first.reshape(channels, -1),
        middle.reshape(height, width, -1),
        last.reshape(-1, filters),
        by_channel.astype("f4"),
        by_filter.astype("f4"),
    )
    return Factors(factors, error)


def even_clusters(points: Array, count: int, seed: int = 0) -> Array:
    """Returns the cluster of each point, by k-means with clusters of equal sizes.

    Points are assigned all at once, by the least sum of squared distances that equal sizes allow.

    Args:
        points: (points, size).
        count: of clusters; where it doesn't divide the points, some clusters have one more.
        seed: of the points to begin with.
    """
    from scipy.optimize import linear_sum_assignment

    points = np.asarray(points, np.float32)
    places = np.arange(len(points)) % count
    centers, clusters = kmeans.first_centers(points, count, seed), places
    for _ in range(_ROUNDS):
        products = points @ centers.T
        distances = np.einsum("ij,ij->i", centers, centers) - 2 * products
        before, clusters = clusters, places[linear_sum_assignment(distances[:, places])[1]]
        if np.array_equal(clusters, before):
            break
        centers, _ = kmeans.means(points, clusters, count)
    return clusters
