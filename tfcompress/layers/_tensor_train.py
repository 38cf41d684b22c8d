"""Holds what the tensor-train layers share: cores and the chain of products with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfcompress.layers._builtin import with_weights

Product = Callable[[Any, Any], Any]


def balanced_modes(size: int, order: int) -> tuple[int, ...]:
    """Returns `order` whole numbers whose product is `size`, as equal as its prime factors allow.

    >>> balanced_modes(1024, 3), balanced_modes(4048, 3), balanced_modes(7, 2)
    ((8, 8, 16), (11, 16, 23), (1, 7))
    """
    primes, rest, divisor = [], size, 2
    while rest > 1:
        if rest % divisor == 0:
            primes.append(divisor)
            rest //= divisor
        else:
            divisor = divisor + 1 if divisor * divisor <= rest else rest
    modes = [1] * order
    for prime in reversed(primes):
        modes[modes.index(min(modes))] *= prime
    return tuple(sorted(modes))


def bonds(sizes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Returns the bonds between cores of these sizes: the rank, or less where less is exact."""
    return tuple(
        min(rank, math.prod(sizes[:cut]), math.prod(sizes[cut:])) for cut in range(1, len(sizes))
    )


def core_shapes(
    inputs: Sequence[int], outputs: Sequence[int], bonds: Sequence[int]
) -> list[tuple[int, int, int, int]]:
    """(bond, input mode, output mode, next bond) of each core; `bonds` with both outer ones."""
    return [
        (bonds[at], m, n, bonds[at + 1])
        for at, (m, n) in enumerate(zip(inputs, outputs, strict=True))
    ]


def products(
    x: Any, kernels: Sequence[Any], shapes: Sequence[tuple[int, int, int, int]], product: Product
) -> Any:
    """Multiplies (rows, inputs * first bond) by the cores in turn: (rows, outputs).

    Before step k the columns are (m_k, ..., m_d, n_1, ..., n_(k-1), r_(k-1)); the step takes m_k
    and r away and puts n_k and the next r behind the rest.

    Args:
        x: the rows; the columns of a first bond above 1 are the fastest.
        kernels: of each core (bond * input mode, output mode * next bond).
        shapes: as `core_shapes` has them.
        product: `matmul`, or a function that applies a dense layer in its place.
    """
    for kernel, (bond, m, n, following) in zip(kernels, shapes, strict=True):
        rest = math.prod(x.shape[1:]) // (m * bond)
        x = ops.reshape(x, (-1, m, rest, bond))
        x = ops.transpose(x, (0, 2, 3, 1))  # (rows, rest, bond, m)
        x = product(ops.reshape(x, (-1, bond * m)), kernel)
        x = ops.reshape(x, (-1, rest * n * following))
    return x


def product_macs(shapes: Sequence[tuple[int, int, int, int]]) -> int:
    """Counts multiply-accumulates of `products` for one row."""
    total = 0
    done = 1
    rest = math.prod(m for _, m, _, _ in shapes)
    for bond, m, n, following in shapes:
        rest //= m
        total += rest * done * bond * m * n * following
        done *= n
    return total


def matrix(kernels: Sequence[Any], shapes: Sequence[tuple[int, int, int, int]]) -> Any:
    """Returns the cores' product, with the first bond in front: (first bond, inputs, outputs)."""
    first = shapes[0][0]
    product = None
    rows, columns = 1, 1
    for kernel, (bond, m, n, following) in zip(kernels, shapes, strict=True):
        core = ops.reshape(kernel, (bond, m * n * following))
        product = core if product is None else ops.matmul(product, core)
        # (first * rows * columns, m, n, following) -> rows and columns side by side
        product = ops.reshape(product, (first, rows, columns, m, n, following))
        product = ops.transpose(product, (0, 1, 3, 2, 4, 5))
        rows, columns = rows * m, columns * n
        product = ops.reshape(product, (first * rows * columns, following))
    return ops.reshape(product, (first, rows, columns))


def dense_layers(cores: Sequence[Any], name: str, dtype: Any) -> list[keras.layers.Dense]:
    """Makes a built-in dense layer for each core."""
    dense = (
        keras.layers.Dense(c.shape[1], use_bias=False, dtype=dtype, name=f"{name}_core{number}")
        for number, c in enumerate(cores)
    )
    return [with_weights(layer, core) for layer, core in zip(dense, cores, strict=True)]
