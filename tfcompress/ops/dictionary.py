"""Writes vectors as sums of a few vectors of a dictionary, which is fitted to them: NumPy in.

scikit-learn has both steps (`orthogonal_mp_gram`, `DictionaryLearning`); it isn't among the
dependencies, and works on one vector after the other.
"""

from __future__ import annotations

import numpy as np

from tfcompress.ops import kmeans
from tfcompress.ops.factorize import Factors, check, svd

Array = np.ndarray

# Rounds of fitting codes and dictionary in turns: of kernels of 64 to 128 channels, five brought
# the error within 0.01 of what ten did.
_ROUNDS = 10
# Added to the squared norms of vectors of the dictionary, which are 1, so that equal ones do.
_RIDGE = 1e-9


def sparse_sums(
    vectors: Array, size: int, coefficients: int, *, rounds: int = _ROUNDS, seed: int = 0
) -> Factors:
    """Fits a dictionary and, for each vector, coefficients of a few of its vectors.

    ```
    vectors[m] ~ sum_t coefs[m, t] * dictionary[index[m, t]]
    ```

    Coefficients are found by orthogonal matching pursuit, the dictionary by least squares, in
    turns. With as many coefficients as the dictionary has vectors, it is the singular value
    decomposition.

    Args:
        vectors: (vectors, length).
        size: of the dictionary.
        coefficients: of each vector, at most `size`.
        rounds: of both steps, at most.
        seed: of the vectors that the dictionary begins with.

    Returns:
        dictionary (size, length), coefs (vectors, coefficients) and index of the same shape;
        balanced, as all `factorize`'s are.

    Raises:
        ValueError: a number isn't positive, or a vector isn't finite.

    Reference:
        Bagherinezhad, Rastegari, Farhadi 2017, "LCNN: Lookup-based Convolutional Neural Network",
        arXiv:1611.06473, section 3; the fit: Engan, Aase, Husøy 1999, "Method of optimal
        directions for frame design".
    """
    check(vectors, 2, min(size, coefficients))
    values = vectors.astype(np.float64)
    if coefficients >= size:
        left, dictionary = (part.astype(np.float64) for part in svd(values, size).factors)
        lacking = size - len(dictionary)  # Of more vectors than can be needed the last are 0.
        coefs = np.pad(left, ((0, 0), (0, lacking)))
        dictionary = np.pad(dictionary, ((0, lacking), (0, 0)))
        index = np.tile(np.arange(size), (len(values), 1))
    else:
        dictionary = _unit(kmeans.first_centers(vectors.astype("f4"), size, seed).astype("f8"))
        for _ in range(rounds):
            coefs, index = matching_pursuit(values, dictionary, coefficients)
            dictionary = _fitted(values, coefs, index, dictionary)
        coefs, index = matching_pursuit(values, dictionary, coefficients)
        norms = np.sqrt(np.bincount(index.ravel(), (coefs**2).ravel(), minlength=size))
        roots = np.where(norms > 0, np.sqrt(norms), 1.0)
        dictionary, coefs = dictionary * roots[:, None], coefs / roots[index]
    made = np.einsum("mt,mtc->mc", coefs, dictionary[index], optimize=True)
    error = float(np.linalg.norm(values - made)) / (float(np.linalg.norm(values)) or 1.0)
    factors = dictionary.astype("f4"), coefs.astype("f4"), index.astype("f4")
    return Factors(factors, error, rounds)


def matching_pursuit(vectors: Array, dictionary: Array, coefficients: int) -> tuple[Array, Array]:
    """Chooses one vector of the dictionary after the other, each time refitting all coefficients.

    Args:
        vectors: (vectors, length).
        dictionary: vectors of norm 1, (size, length).
        coefficients: of each vector, at most `size`.

    Returns:
        Coefficients and the numbers of their vectors, each (vectors, coefficients).

    Reference:
        Pati, Rezaiifar, Krishnaprasad 1993, "Orthogonal Matching Pursuit"; by the Gram matrix
        Rubinstein, Zibulevsky, Elad 2008.
    """
    gram, products = dictionary @ dictionary.T, vectors @ dictionary.T
    index = np.zeros((len(vectors), 0), np.int64)
    left, coefs = products, np.zeros((len(vectors), 0))
    for count in range(1, coefficients + 1):
        sizes = np.abs(left)
        np.put_along_axis(sizes, index, -1.0, 1)  # Each is chosen once.
        index = np.concatenate([index, sizes.argmax(1)[:, None]], 1)
        among = gram[index[:, :, None], index[:, None, :]] + _RIDGE * np.eye(count)
        targets = np.take_along_axis(products, index, 1)
        coefs = np.linalg.solve(among, targets[..., None])[..., 0]
        left = products - np.einsum("mt,mtk->mk", coefs, gram[index], optimize=True)
    return coefs, index


def _fitted(vectors: Array, coefs: Array, index: Array, dictionary: Array) -> Array:
    """Returns the dictionary that is best for these coefficients, with vectors of norm 1.

    Those that no vector takes become vectors that are held worst.
    """
    codes = np.zeros((len(vectors), len(dictionary)))
    np.put_along_axis(codes, index, coefs, 1)
    used = codes.any(0)
    fitted = dictionary.copy()
    fitted[used] = np.linalg.lstsq(codes[:, used], vectors, rcond=None)[0]
    missed = np.linalg.norm(vectors - codes @ fitted, axis=1)
    worst = np.argsort(-missed, kind="stable")[: int((~used).sum())]
    fitted[np.flatnonzero(~used)[: len(worst)]] = vectors[worst]
    return _unit(fitted)


def _unit(vectors: Array) -> Array:
    """Returns vectors of norm 1, or 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
