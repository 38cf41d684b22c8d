"""Shares weights by hashing: says which stored weight stands where, on any Keras backend.

Two ways to share, as plain values that hold the positions and no weights:

- `ElementwiseHash`: every logical weight has a bucket of its own choosing (HashedNets).
- `PermutationHash`: blocks of outputs share one small matrix and see the inputs in other orders.

`make` returns either by its name. The first uses `hash_indices`, whose 32-bit arithmetic a
`.tflite` file can do, too; the second `hash_pairs`. Both compute integers in NumPy, equal on every
machine and in every process.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

# Logical weights that are hashed or expanded at a time: so many stay in a cache, and memory is
# bounded.
_AT_ONCE = 2**20
# Up to so many logical weights the gradient's sums are of sorted buckets, above it scattered. At
# 1/8 they took, sorted and scattered, 7 and 27 ms (1000x1000), 280 and 470 ms (4096x4096, in 16
# parts; in one part 2140 and 2030 ms); but sorting takes 8 bytes a logical weight.
SORTED_UP_TO = 2**24


def _mix(keys: np.ndarray) -> np.ndarray:
    """Applies the finaliser of SplitMix64, a bijection of uint64; overwrites `keys`.

    Reference:
        Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 17;
        the constants are Stafford's variant 13.
    """
    keys ^= keys >> np.uint64(30)
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
    return keys


def hash_pairs(rows: np.ndarray, columns: np.ndarray, seed: int) -> np.ndarray:
    """Returns 64 well mixed bits for each pair (row, column) and seed.

    ```
    hash(i, j) = mix((2**32 * i + j) + mix(0x9E3779B97F4A7C15 * (seed + 1)))   modulo 2**64
    ```

    with SplitMix64's `mix`. It stands for the paper's xxHash, whose only task is to spread.

    Args:
        rows: whole numbers below 2**32.
        columns: whole numbers below 2**32, of a shape that broadcasts with `rows`.
        seed: 0 or more.

    Returns:
        uint64 of the broadcast shape.

    >>> hash_pairs(np.arange(2)[:, None], np.arange(2), seed=0) % 100
    array([[71, 91],
           [36, 81]], dtype=uint64)
    """
    start = _mix(np.array([(seed + 1) * 0x9E3779B97F4A7C15 % 2**64], np.uint64))
    keys = (np.asarray(rows).astype(np.uint64) << np.uint64(32)) + np.asarray(columns).astype(
        np.uint64
    )
    return _mix(keys + start)


def hash_indices(indices: np.ndarray, seed: int) -> np.ndarray:
    """Returns 32 well mixed bits for each index and seed.

    ```
    odd, start = the upper and lower 32 bits of mix(0x9E3779B97F4A7C15 * (seed + 1)), the upper | 1
    k = (index * odd) ^ start
    k = (k ^ (k >> 16)) * 0x85EBCA6B;  k = (k ^ (k >> 13)) * 0xC2B2AE35;  hash = k ^ (k >> 16)
    ```

    modulo 2**32, with SplitMix64's `mix`. For a seed it is a bijection of the indices. It stands
    for the paper's xxHash, whose only task is to spread, and needs no more than 32 bits, so that a
    file can compute it as it is loaded.

    Args:
        indices: whole numbers below 2**32; a uint32 array is overwritten.
        seed: 0 or more.

    Returns:
        uint32 of the same shape.

    Reference:
        Appleby 2011, MurmurHash3, `fmix32` (public domain).

    >>> hash_indices(np.arange(4), seed=0) % 100
    array([42, 14, 63, 19], dtype=uint32)
    """
    odd, start = seed_constants(seed)
    keys = np.asarray(indices).astype(np.uint32, copy=False)
    keys *= odd
    keys ^= start
    for shift, factor in FMIX32:
        keys ^= keys >> np.uint32(shift)
        keys *= np.uint32(factor)
    return keys


# Rounds of (shift, factor); the last has no factor.
FMIX32 = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))


def seed_constants(seed: int) -> tuple[np.uint32, np.uint32]:
    """Returns what a seed puts into `hash_indices`: an odd factor, and a start."""
    (bits,) = _mix(np.array([(seed + 1) * 0x9E3779B97F4A7C15 % 2**64], np.uint64)).tolist()
    return np.uint32(bits >> 32 | 1), np.uint32(bits % 2**32)


def bucket_count(compression_ratio: float, weights: int) -> int:
    """Returns how many weights are stored for so many logical ones: at least 1.

    >>> bucket_count(1 / 8, 32384), bucket_count(1 / 8, 3)
    (4048, 1)
    """
    return max(1, round(compression_ratio * weights))


def check_ratio(compression_ratio: float, hashing: str) -> None:
    """Refuses a ratio or a way of hashing that no layer can have.

    Raises:
        ValueError: the ratio isn't in (0, 1], the hashing is unknown, or it is `"permutation"` and
            1 / ratio isn't a whole number.
    """
    if hashing not in ("permutation", "elementwise"):
        raise ValueError(
            f"hashing must be 'permutation' or 'elementwise'. Received: hashing={hashing!r}"
        )
    if not 0 < compression_ratio <= 1:
        raise ValueError(
            "compression_ratio is stored weights divided by logical ones, above 0 and at most 1. "
            f"Received: compression_ratio={compression_ratio}"
        )
    times = 1 / compression_ratio
    if hashing == "permutation" and abs(times - round(times)) > 1e-6 * times:
        raise ValueError(
            "hashing='permutation' needs a compression_ratio of 1 by a whole number, such as 1/8: "
            "it uses every stored weight equally often. hashing='elementwise' takes any. "
            f"Received: compression_ratio={compression_ratio}"
        )


def scaled_gradient(x: Any, factor: float) -> Any:
    """Returns `x` itself, whose gradient is multiplied by a factor."""

    @ops.custom_gradient
    def function(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return factor * (args[0] if upstream is None else upstream)

        return ops.copy(x), gradient

    # Of a copy: of a variable, TensorFlow would want a second gradient when it runs eagerly.
    return function(ops.copy(x))


class ElementwiseHash:
    """Shares weights as the paper does: `V[i, j] = w[h(i, j)] * xi(i, j)`, i < rows, j < columns.

    ```
    buckets   K = max(1, round(ratio * rows * columns))
    bits      hash(i * columns + j), 32 of them
    bucket    h(i, j) = floor(bits / 2) modulo K
    sign      xi(i, j) = -1 if bits >= 2**31 else +1
    gradient  dL/dw[k] = sum over h(i, j) = k of xi(i, j) * dL/dV[i, j]
    ```

    Positions and signs take 5 bytes for each logical weight, and 13 where the gradient sums sorted
    buckets (up to `SORTED_UP_TO` logical weights).

    Args:
        rows, columns: shape of the logical matrix.
        compression_ratio: stored weights divided by logical ones.
        seed: of the hash.

    Attributes:
        stored_shape: (K,), the shape of w.
        seed: of the hash.

    Reference:
        Chen, Wilson, Tyree, Weinberger, Chen 2015, "Compressing Neural Networks with the Hashing
        Trick", arXiv:1504.04788, section 4.
    """

    def __init__(self, rows: int, columns: int, compression_ratio: float, seed: int) -> None:
        self.shape = (rows, columns)
        self.buckets = bucket_count(compression_ratio, rows * columns)
        self.stored_shape = (self.buckets,)
        self.places = np.empty(self.shape, np.int32)
        self.signs = np.empty(self.shape, np.int8)
        self._orders: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.seed = seed
        self._step = max(1, _AT_ONCE // columns)
        for first in range(0, rows, self._step):
            last = min(rows, first + self._step)
            bits = hash_indices(np.arange(first * columns, last * columns, dtype=np.uint32), seed)
            bits = bits.reshape(-1, columns)
            self.places[first:last] = (bits >> np.uint32(1)) % np.uint32(self.buckets)
            self.signs[first:last] = 1 - 2 * (bits >> np.uint32(31)).astype(np.int8)

    def expand(self, weights: Any) -> Any:
        """Expands (K,) to the logical (rows, columns), with the gradient above."""
        return ops.concatenate([part for _, part in self._parts(weights)])

    def product(self, x: Any, weights: Any) -> Any:
        """Returns `x @ expand(weights)` for (..., rows), some rows at a time: (..., columns)."""
        parts = [ops.matmul(x[..., some], part) for some, part in self._parts(weights)]
        return functools.reduce(ops.add, parts)

    def _parts(self, weights: Any) -> list[tuple[slice, Any]]:
        """Returns the logical matrix, some rows at a time."""
        # Of a copy: of a variable, TensorFlow would want a second gradient when it runs eagerly.
        weights = ops.copy(weights)
        ranges = [slice(i, i + self._step) for i in range(0, self.shape[0], self._step)]
        return [(some, self._expand(weights, some)) for some in ranges]

    def _expand(self, weights: Any, some: slice) -> Any:
        """Expands (K,) to some rows of the logical matrix."""

        @ops.custom_gradient
        def function(weights: Any) -> Any:
            def gradient(*args: Any, upstream: Any = None) -> Any:
                upstream = args[0] if upstream is None else upstream
                # Half precision is too coarse to sum many values in.
                values = ops.cast(upstream, "float32") * ops.cast(self.signs[some], "float32")
                return ops.cast(self._sums(ops.reshape(values, (-1,)), some), upstream.dtype)

            values = ops.take(weights, self.places[some], axis=0)
            return values * ops.cast(self.signs[some], values.dtype), gradient

        return function(weights)

    def _sums(self, values: Any, some: slice) -> Any:
        """Sums the values of some rows in each bucket: (K,)."""
        places = self.places[some].ravel()
        if self.places.size > SORTED_UP_TO:
            return ops.segment_sum(values, places, num_segments=self.buckets)
        if some.start not in self._orders:
            order = np.argsort(places, kind="stable").astype(np.int32)
            self._orders[some.start] = order, places[order]
        order, places = self._orders[some.start]
        # TensorFlow's sorted sum counts the segments itself, JAX's wants to be told.
        segments = int(places[-1]) + 1
        count = None if keras.backend.backend() == "tensorflow" else segments
        values = ops.take(values, order, axis=0)
        sums = ops.segment_sum(values, places, num_segments=count, sorted=True)
        return ops.pad(sums, [(0, self.buckets - segments)])

    def project(self, kernel: np.ndarray) -> np.ndarray:
        """Returns the weights whose expansion is nearest to a (rows, columns) matrix: bucket means.

        Empty buckets get 0.
        """
        signed = np.asarray(kernel, np.float64).ravel() * self.signs.ravel()
        places = self.places.ravel()
        sums = np.bincount(places, signed, self.buckets)
        counts = np.bincount(places, minlength=self.buckets)
        return (sums / np.maximum(counts, 1)).astype(np.float32)


class PermutationHash:
    """Shares weights between blocks q: `V[p_q(i), q * R + r] = w[i, r] * xi_q(i)`, r < R.

    ```
    blocks    R = ceil(ratio * columns) columns each; the last one is cut to what is left
    order     p_q = the order that sorts hash(q, 0), ..., hash(q, rows - 1)
    sign      xi_q(i) = -1 if hash(q, i) is odd else +1
    product   x @ V[:, block q] = (xi_q * x[p_q]) @ w
    gradient  dL/dw[i, r] = sum over q of xi_q(i) * dL/dV[p_q(i), q * R + r]
    ```

    Where 1 / ratio divides the columns, every stored weight stands in exactly 1 / ratio places, one
    in each block. This isn't the paper's hash: there any two weights may share, here only weights
    of different blocks, and then whole columns do.

    Args:
        rows, columns: shape of the logical matrix.
        compression_ratio: 1 by a whole number.
        seed: of the hash.

    Attributes:
        stored_shape: (rows, R), the shape of w.
        blocks: how many there are: at most 1 / ratio.
        orders: int32 (rows, blocks): `p_q(i)`.
        signs: int8 (rows, blocks): `xi_q(i)`.
    """

    def __init__(self, rows: int, columns: int, compression_ratio: float, seed: int) -> None:
        self.shape = (rows, columns)
        width = math.ceil(columns / round(1 / compression_ratio))
        self.stored_shape = (rows, width)
        self.blocks = math.ceil(columns / width)
        bits = hash_pairs(np.arange(self.blocks), np.arange(rows)[:, None], seed)
        self.signs = (1 - 2 * (bits & np.uint64(1)).astype(np.int8)).astype(np.int8)
        self.orders = np.argsort(bits, axis=0, kind="stable").astype(np.int32)
        self._inverse = np.argsort(self.orders, axis=0, kind="stable").astype(np.int32)
        self._inverse_signs = np.take_along_axis(self.signs, self._inverse, axis=0)

    def gather(self, x: Any) -> Any:
        """Gathers (rows, width) to (rows, blocks, width): `xi_q(i) * x[p_q(i)]` at [i, q]."""
        return _gather(x, (self.orders, self.signs), (self._inverse, self._inverse_signs))

    def expand(self, weights: Any) -> Any:
        """Expands (..., rows, R) to the logical (..., rows, columns), with the gradient above."""
        lead = tuple(weights.shape[:-2])
        rows, width = self.stored_shape
        x = ops.reshape(weights, (-1, rows, width))  # Leading axes in one.
        x = ops.reshape(ops.transpose(x, (1, 0, 2)), (rows, -1))  # (rows, lead * R)
        x = _gather(x, (self._inverse, self._inverse_signs), (self.orders, self.signs))
        x = ops.reshape(x, (rows, self.blocks, math.prod(lead), width))
        x = ops.transpose(x, (2, 0, 1, 3))  # (lead, rows, blocks, R)
        x = ops.reshape(x, (*lead, rows, self.blocks * width))
        return x[..., : self.shape[1]]

    def product(self, x: Any, weights: Any) -> Any:
        """Returns `x @ expand(weights)` for (batch, rows), without expanding: (batch, columns)."""
        rows, width = self.stored_shape
        # Inputs as rows of a batch's values: a gather then moves whole rows, forward and back.
        x = ops.reshape(self.gather(ops.transpose(x)), (rows, -1))  # (rows, blocks * batch)
        y = ops.reshape(ops.matmul(ops.transpose(x), weights), (self.blocks, -1, width))
        y = ops.reshape(ops.transpose(y, (1, 0, 2)), (-1, self.blocks * width))
        return y[:, : self.shape[1]]

    def project(self, kernel: np.ndarray) -> np.ndarray:
        """Returns the weights whose expansion is nearest to (..., rows, columns): means."""
        kernel = np.asarray(kernel, np.float64)
        rows, width = self.stored_shape
        sums = np.zeros((*kernel.shape[:-2], rows, width))
        counts = np.zeros(width)
        for block in range(self.blocks):
            part = kernel[..., self.orders[:, block], block * width : (block + 1) * width]
            sums[..., : part.shape[-1]] += part * self.signs[:, block, None]
            counts[: part.shape[-1]] += 1
        return (sums / counts).astype(np.float32)


def _gather(
    x: Any, forward: tuple[np.ndarray, np.ndarray], back: tuple[np.ndarray, np.ndarray]
) -> Any:
    """Gathers rows in several orders, with signs: (rows, width) to (rows, blocks, width).

    Its gradient gathers as well, in the inverse orders, which is cheaper than to scatter.

    Args:
        x: (rows, width).
        forward: for each row and block of the result, which row of x, and its sign.
        back: for each row of x and block, which row of the result, and its sign.
    """
    rows, blocks = forward[0].shape

    @ops.custom_gradient
    def function(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            flat = ops.reshape(upstream, (rows * blocks, -1))
            places = back[0] * blocks + np.arange(blocks, dtype=np.int32)
            parts = ops.take(flat, places, axis=0) * ops.cast(back[1][:, :, None], flat.dtype)
            return ops.sum(parts, axis=1)

        return ops.take(ops.concatenate([x, -x]), signed_places(*forward), axis=0), gradient

    return function(ops.copy(x))


def signed_places(places: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Returns places in [x, -x] for places in x with signs; x has as many rows as `places`."""
    return (places + len(places) * (signs < 0)).astype(np.int32)


def make(
    hashing: str, rows: int, columns: int, compression_ratio: float, seed: int
) -> ElementwiseHash | PermutationHash:
    """Makes the sharing of that name, `"permutation"` or `"elementwise"`, for a logical matrix.

    Raises:
        ValueError: as of `check_ratio`.
    """
    check_ratio(compression_ratio, hashing)
    kind = PermutationHash if hashing == "permutation" else ElementwiseHash
    return kind(rows, columns, compression_ratio, seed)
