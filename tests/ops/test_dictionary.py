"""Sums of a few vectors of a dictionary: what is known in closed form, and what a loop finds."""

import numpy as np
import pytest

from tfcompress.ops import dictionary, factorize


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def made(factors):
    vectors, coefs, index = factors
    return np.einsum("mt,mtc->mc", coefs, vectors[index.astype(int)])


def test_all_coefficients_are_the_singular_value_decomposition():
    values = draw((30, 8))
    found = dictionary.sparse_sums(values, 5, 5)
    assert found.error == pytest.approx(factorize.svd(values, 5).error, abs=1e-5)
    assert dictionary.sparse_sums(values, 8, 8).error < 1e-5
    few = draw((3, 8))  # Fewer vectors than the dictionary may have.
    assert dictionary.sparse_sums(few, 6, 6).error < 1e-5


def test_a_dictionary_is_found_again():
    random = np.random.default_rng(0)
    true = np.eye(6, dtype="f4")
    index = random.integers(0, 6, 200)
    values = true[index] * random.choice([-2, 3], 200)[:, None]
    assert dictionary.sparse_sums(values, 6, 1).error < 1e-5


def test_matching_pursuit_is_the_textbooks():
    values, vectors = draw((20, 6)).astype("f8"), draw((9, 6), 1).astype("f8")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    coefs, index = dictionary.matching_pursuit(values, vectors, 3)
    for value, coef, chosen in zip(values, coefs, index, strict=True):
        support, left = [], value
        for _ in range(3):
            support.append(int(np.abs(vectors @ left).argmax()))
            best = np.linalg.lstsq(vectors[support].T, value, rcond=None)[0]
            left = value - best @ vectors[support]
        assert chosen.tolist() == support
        np.testing.assert_allclose(coef, best, atol=1e-6)


def test_more_coefficients_or_vectors_are_nearer():
    values = draw((200, 12))
    by_count = [dictionary.sparse_sums(values, 8, n).error for n in (1, 2, 4, 8)]
    by_size = [dictionary.sparse_sums(values, n, 2).error for n in (4, 8, 12)]
    for errors in (by_count, by_size):
        assert errors == sorted(errors, reverse=True)
    found = dictionary.sparse_sums(values, 8, 2)
    relative = np.linalg.norm(values - made(found.factors)) / np.linalg.norm(values)
    assert found.error == pytest.approx(relative, abs=1e-6)


def test_zeros_and_what_isnt_finite():
    assert dictionary.sparse_sums(np.zeros((5, 4), "f4"), 3, 2).error == 0
    with pytest.raises(ValueError, match="finite values"):
        dictionary.sparse_sums(np.full((5, 4), np.inf, "f4"), 3, 2)
    with pytest.raises(ValueError, match="rank=0"):
        dictionary.sparse_sums(draw((5, 4)), 3, 0)
