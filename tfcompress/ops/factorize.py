"""Decomposes trained kernels: NumPy in, balanced NumPy factors and their error out.

All factors are balanced: the norm of a component is spread evenly over the factors that hold it, so
that one learning rate fits all of them and fine-tuning doesn't explode. All decompositions are
reproducible: the same kernel, rank and seed give the same factors.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

Array = np.ndarray

# Ridge of the alternating least squares for a kernel of norm 1, before the scaling by the rank:
# large enough that components can't grow against each other, small enough to cost under 0.002 of
# relative error (measured on 3x3 kernels of 32 to 128 channels).
_RIDGE = 2e-3
# Least squares is solved this often for the small factors before the large product is made again.
_INNER = 2


@dataclasses.dataclass(frozen=True)
class Factors:
    """Holds a decomposition.

    Attributes:
        factors: the arrays, in the order that the function names.
        error: relative error in the Frobenius norm, `||K - K~|| / ||K||`.
        sweeps: how often all factors were updated; 0 for a closed form.
    """

    factors: tuple[Array, ...]
    error: float
    sweeps: int = 0


def svd(matrix: Array, rank: int) -> Factors:
    """Truncates the singular value decomposition: `matrix ~ left @ right`.

    Args:
        matrix: (rows, columns).
        rank: of the product; at most the smaller side, above which nothing is gained.

    Returns:
        left (rows, rank) and right (rank, columns); no matrix of that rank is nearer.

    Raises:
        ValueError: the rank isn't positive, or the matrix isn't finite.

    Reference:
        Eckart and Young 1936, "The approximation of one matrix by another of lower rank".
    """
    check(matrix, 2, rank)
    if matrix.shape[0] < matrix.shape[1]:
        transposed = svd(matrix.T, rank)
        right, left = transposed.factors
        return Factors((left.T, right.T), transposed.error)
    # By the eigenvectors of the smaller Gram matrix: several times faster, and in double precision
    # as good as single precision can tell. At full rank `A V V'` is A whatever V is.
    values = matrix.astype(np.float64)
    squares, vectors = np.linalg.eigh(values.T @ values)
    vectors = vectors[:, ::-1][:, :rank]  # (columns, rank), the largest first
    left = values @ vectors
    root = np.sqrt(np.maximum(np.linalg.norm(left, axis=0), 1e-30))
    lost = float(np.maximum(squares[::-1][rank:], 0).sum())
    return Factors(
        ((left / root).astype("f4"), (vectors * root).T.astype("f4")),
        math.sqrt(lost / _square(matrix)),
    )


def spatial(kernel: Array, rank: int) -> Factors:
    """Splits a convolution into a vertical and a horizontal one, by singular value decomposition.

    ```
    K[i, j, c, n] ~ sum_k V[i, c, k] * H[j, k, n]
    ```

    Args:
        kernel: (height, width, channels, filters).
        rank: channels between the two.

    Returns:
        V (height, 1, channels, rank) and H (1, width, rank, filters).

    Reference:
        Jaderberg, Vedaldi, Zisserman 2014, arXiv:1405.3866, section 2 (scheme 2); solved in closed
        form as by Tai et al. 2015, arXiv:1511.06067, section 3.
    """
    check(kernel, 4, rank)
    height, width, channels, filters = kernel.shape
    truncated = svd(spatial_matrix(kernel), rank)
    left, right = truncated.factors
    vertical = left.reshape(height, 1, channels, -1)
    # (k, j * n) -> (j, k, n)
    horizontal = right.reshape(-1, width, filters).transpose(1, 0, 2)[None]
    return Factors((vertical, np.ascontiguousarray(horizontal)), truncated.error)


def spatial_matrix(kernel: Array) -> Array:
    """Returns the kernel as (height * channels, width * filters), whose rank `spatial` lowers."""
    height, width, channels, filters = kernel.shape
    return kernel.transpose(0, 2, 1, 3).reshape(height * channels, width * filters)


def tucker2(kernel: Array, rank: tuple[int, int], *, iterations: int = 50) -> Factors:
    """Decomposes a kernel over its two channel axes (Tucker-2).

    ```
    K[i, j, c, n] ~ sum_pq U[c, p] * G[i, j, p, q] * V[q, n]
    ```

    Args:
        kernel: (height, width, channels, filters).
        rank: channels before and behind the core; ranks above what the kernel can need are
            lowered.
        iterations: of higher-order orthogonal iteration, at most.

    Returns:
        U (channels, rank[0]), G (height, width, rank[0], rank[1]), V (rank[1], filters).

    Reference:
        Kim et al. 2016, arXiv:1511.06530, section 3.1; Tucker 1966.
    """
    from tensorly.decomposition import partial_tucker

    check(kernel, 4, min(rank))
    taps, channels, filters = math.prod(kernel.shape[:2]), *kernel.shape[2:]
    behind = min(rank[1], filters, taps * channels)
    before = min(rank[0], channels, taps * behind)
    behind = min(behind, taps * before)
    values = kernel.astype(np.float64)
    if not values.any():
        zeros = np.zeros((*kernel.shape[:2], before, behind), "f4")
        left, right = np.eye(channels, before), np.eye(behind, filters)
        return Factors((left.astype("f4"), zeros, right.astype("f4")), 0.0)
    (core, (left, right)), _ = partial_tucker(
        values, rank=[before, behind], modes=[2, 3], n_iter_max=iterations, init="svd", tol=1e-6
    )
    # The factors are orthonormal, so all of the norm is in the core: move its half out.
    for_left = np.sqrt(_norms(core, 2))
    left, core = left * for_left, core / for_left[:, None]
    for_right = np.sqrt(_norms(core, 3))
    right, core = right * for_right, core / for_right
    product = np.einsum("cp,ijpq,nq->ijcn", left, core, right, optimize=True)
    factors = (left.astype("f4"), core.astype("f4"), right.T.astype("f4"))
    return Factors(factors, relative_error(values, product), iterations)


def cp_full_rank(shape: Sequence[int]) -> int:
    """Returns how many components are enough for any kernel of this shape, by `cp`'s exact form.

    >>> cp_full_rank((3, 3, 64, 256))
    576
    """
    first, second = _matrix_axes(shape)
    rest = math.prod(n for axis, n in enumerate(shape) if axis not in (first, second))
    return rest * min(shape[first], shape[second])


def cp(
    kernel: Array,
    rank: int,
    *,
    seed: int = 0,
    iterations: int = 100,
    restarts: int = 1,
    tolerance: float = 5e-5,
) -> Factors:
    """Decomposes a kernel into rank-1 terms (CP), by regularised alternating least squares.

    ```
    K[i, j, c, n] ~ sum_r A[i, r] * B[j, r] * P[c, r] * Q[n, r]
    ```

    The unregularised problem may have no minimum: components then grow without bound against one
    another and fine-tuning explodes. Here a ridge on the balanced factors keeps the sum of the
    components' energies at a few times the kernel's. From `cp_full_rank` components on the
    decomposition is exact: it is the singular value decomposition of each slice. The largest
    components of that are also the result where they are nearer than the least squares'.

    Args:
        kernel: (height, width, channels, filters).
        rank: components; more than `cp_full_rank` are never made.
        seed: of the random start.
        iterations: sweeps over all factors, at most, of each start.
        restarts: how many random starts; the best is kept.
        tolerance: a sweep that lowers the relative error by less is the last one.

    Returns:
        A (height, rank), B (width, rank), P (channels, rank) and Q (filters, rank).

    Raises:
        ValueError: the rank isn't positive, or the kernel isn't finite.

    Reference:
        Lebedev et al. 2015, arXiv:1412.6553, section 3.2; on the degeneracy: Phan et al. 2020,
        "Stable low-rank tensor decomposition", arXiv:2008.05441, section 3.
    """
    check(kernel, 4, rank)
    if iterations < 1 or restarts < 1:
        raise ValueError(
            "iterations and restarts must be positive. "
            f"Received: iterations={iterations}, restarts={restarts}"
        )
    best = _cp_of_slices(kernel, rank)
    if rank >= cp_full_rank(kernel.shape) or not kernel.any():
        return best
    scale = float(np.linalg.norm(kernel))
    for start in range(restarts):
        fit = _als(kernel.astype("f4") / scale, rank, (seed, start), iterations, tolerance)
        if fit.error < best.error:
            best = Factors(tuple(f * scale**0.25 for f in fit.factors), fit.error, fit.sweeps)
    return best


def cp_kernel(factors: Sequence[Array]) -> Array:
    """Returns the kernel (height, width, channels, filters) of four factors."""
    return np.einsum("ir,jr,cr,nr->ijcn", *factors, optimize=True)


def _matrix_axes(shape: Sequence[int]) -> tuple[int, int]:
    """Returns the two axes whose slices need fewest components in `_cp_of_slices`."""

    def components(pair: tuple[int, int]) -> int:
        rest = math.prod(n for axis, n in enumerate(shape) if axis not in pair)
        return rest * min(shape[pair[0]], shape[pair[1]])

    # Of equals the last: the channel axes.
    return min(reversed(list(itertools.combinations(range(4), 2))), key=components)


def _cp_of_slices(kernel: Array, rank: int) -> Factors:
    """Returns the largest components of the singular value decompositions of all slices."""
    axes = _matrix_axes(kernel.shape)
    others = [axis for axis in range(4) if axis not in axes]
    slices = kernel.astype(np.float64).transpose(*others, *axes)  # (a, b, rows, columns)
    left, values, right = np.linalg.svd(slices, full_matrices=False)
    order = np.argsort(-values, axis=None, kind="stable")[:rank]
    first, second, which = np.unravel_index(order, values.shape)
    factors: list[Array] = [np.empty(0)] * 4
    factors[others[0]] = np.eye(kernel.shape[others[0]])[:, first]
    factors[others[1]] = np.eye(kernel.shape[others[1]])[:, second]
    factors[axes[0]] = left[first, second, :, which].T * values[first, second, which]
    factors[axes[1]] = right[first, second, which].T
    energy = float((values[first, second, which] ** 2).sum())
    square = _square(kernel)
    return Factors(
        tuple(f.astype("f4") for f in balanced(factors)), math.sqrt(max(0, 1 - energy / square))
    )


def _als(
    kernel: Array, rank: int, seed: tuple[int, ...], iterations: int, tolerance: float
) -> Factors:
    """Fits a kernel of norm 1 by alternating least squares, from a random start."""
    height, width, channels, filters = kernel.shape
    rng = np.random.default_rng(seed)
    a, b, p, q = (rng.standard_normal((n, rank), np.float32) for n in kernel.shape)
    gram = _gram(a, b, p, q)
    a, b, p, q = (f / float(gram.sum()) ** 0.125 for f in (a, b, p, q))
    # A component's norm falls as rank^(-1/2), a product of three of its factors as rank^(-3/4).
    ridge = _RIDGE * rank**-0.75
    by_filter = kernel.reshape(-1, filters)
    by_channel = np.ascontiguousarray(kernel.transpose(0, 1, 3, 2)).reshape(-1, channels)
    error, sweeps = np.inf, 0
    while sweeps < iterations:
        sweeps += 1
        # One large product, then every factor but the one in it, twice; then the other way round.
        part = (by_filter @ q).reshape(height, width, channels, rank)
        a, b, p, _ = _inner(part, a, b, p, q, ridge)
        part = (by_channel @ p).reshape(height, width, filters, rank)
        a, b, q, target = _inner(part, a, b, q, p, ridge)
        gram = _gram(a, b, p, q)
        before, error = error, math.sqrt(max(0.0, 1 - 2 * float((target * q).sum()) + gram.sum()))
        a, b, p, q = balanced((a, b, p, q))
        if before - error < tolerance:
            break
    return Factors((a, b, p, q), relative_error(kernel, cp_kernel((a, b, p, q))), sweeps)


def _gram(*factors: Array) -> Array:
    """Returns the products of components with one another: (rank, rank)."""
    gram = factors[0].T @ factors[0]
    for factor in factors[1:]:
        gram = gram * (factor.T @ factor)
    return gram


def _inner(
    part: Array, a: Array, b: Array, inside: Array, fixed: Array, ridge: float
) -> tuple[Array, Array, Array, Array]:
    """Updates A, B and one channel factor, given the kernel times the other channel factor."""
    gram = fixed.T @ fixed
    target = inside
    for _ in range(_INNER):
        weighted = np.einsum("ijcr,cr->ijr", part, inside)
        both = gram * (inside.T @ inside)
        a = _solve(both * (b.T @ b), np.einsum("ijr,jr->ir", weighted, b), ridge)
        b = _solve(both * (a.T @ a), np.einsum("ijr,ir->jr", weighted, a), ridge)
        taps = a[:, None] * b[None]  # (height, width, rank)
        target = np.einsum("ijcr,ijr->cr", part, taps)
        inside = _solve(gram * (a.T @ a) * (b.T @ b), target, ridge)
    return a, b, inside, target


def _solve(gram: Array, target: Array, ridge: float) -> Array:
    """Returns the rows f that minimise `f G f' - 2 f t' + ridge f f'`."""
    damped = gram + np.float32(ridge) * np.eye(len(gram), dtype=gram.dtype)
    return np.linalg.solve(damped, target.T).T


def tensor_train(tensor: Array, rank: int) -> Factors:
    """Decomposes a tensor into a tensor-train, by successive singular value decompositions.

    ```
    T[x1, ..., xk] ~ G1[x1] @ G2[x2] @ ... @ Gk[xk]
    ```

    Args:
        tensor: of two axes or more.
        rank: the largest size of a bond between two cores; bonds that need less get less.

    Returns:
        The cores (bond, size, next bond), the outer bonds being 1.

    Reference:
        Oseledets 2011, "Tensor-Train Decomposition", algorithm 1.
    """
    from tensorly.decomposition import tensor_train as decompose

    check(tensor, tensor.ndim, rank)
    ranks = [1, *(min(rank, full) for full in full_bonds(tensor.shape)), 1]
    values = tensor.astype(np.float64)
    cores = [np.asarray(core) for core in decompose(values, rank=ranks)]
    for at in range(len(cores) - 1):
        # All of a bond's norm is on its right: move half of it to the left.
        left = np.sqrt((cores[at] ** 2).sum(axis=(0, 1)))
        right = np.sqrt((cores[at + 1] ** 2).sum(axis=(1, 2)))
        scale = np.sqrt(np.maximum(right, 1e-30) / np.maximum(left, 1e-30))
        cores[at], cores[at + 1] = cores[at] * scale, cores[at + 1] / scale[:, None, None]
    product = cores[0]
    for core in cores[1:]:
        product = np.tensordot(product, core, 1)
    error = relative_error(values, product.reshape(tensor.shape))
    return Factors(tuple(core.astype("f4") for core in cores), error)


def full_bonds(shape: Sequence[int]) -> list[int]:
    """Returns the bonds at which a tensor-train holds any tensor of this shape.

    >>> full_bonds((4, 6, 10))
    [4, 10]
    """
    return [min(math.prod(shape[:cut]), math.prod(shape[cut:])) for cut in range(1, len(shape))]


def balanced(factors: Sequence[Array]) -> list[Array]:
    """Rescales factors (size, rank) so that in each component their columns have equal norms."""
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    shared = math.prod(norms) ** (1 / len(factors))
    return [
        factor * (shared / np.maximum(norm, 1e-30)).astype(factor.dtype)
        for factor, norm in zip(factors, norms, strict=True)
    ]


def _norms(tensor: Array, axis: int) -> Array:
    """Returns the norm of each slice along an axis, at least a little, to divide by."""
    others = tuple(at for at in range(tensor.ndim) if at != axis)
    return np.maximum(np.sqrt((tensor**2).sum(axis=others)), 1e-30)


def _square(tensor: Array) -> float:
    """Returns the squared norm, or 1 for zeros, to divide by."""
    return float((tensor.astype(np.float64) ** 2).sum()) or 1.0


def relative_error(expected: Array, actual: Array) -> float:
    """Returns the norm of the difference by that of what was expected."""
    return float(np.linalg.norm(expected - actual)) / math.sqrt(_square(expected))


def check(tensor: Array, axes: int, rank: int) -> None:
    """Refuses what isn't finite or has other axes, and ranks that aren't positive."""
    if tensor.ndim != axes or not np.isfinite(tensor).all():
        raise ValueError(
            f"a tensor of {axes} axes with finite values is needed. Received: shape={tensor.shape}"
        )
    if rank < 1:
        raise ValueError(f"rank must be positive. Received: rank={rank}")
