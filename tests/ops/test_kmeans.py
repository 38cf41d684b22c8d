"""Codebooks for blocks, beside SciPy's k-means and the definition."""

import numpy as np
import pytest
from scipy.cluster import vq

from tfcompress.ops import kmeans


def points(count=300, size=5, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def test_moves_centers_as_scipy_does():
    x = points()
    centers, codes = kmeans.kmeans(x, x[:12], rounds=7)
    expected, _ = vq.kmeans2(x.astype("float64"), x[:12].astype("float64"), 7, minit="matrix")
    np.testing.assert_allclose(centers, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(codes, vq.vq(x, centers)[0])


@pytest.mark.parametrize("count", [1, 16, 64])
def test_a_book_is_as_near_as_scipys_best(count):
    x = points(600, 9, 1)
    book, codes = kmeans.codebook(x, count)
    found = kmeans.distortion(x, book, codes)
    assert found == pytest.approx(np.mean(np.sum((x - book[codes]) ** 2, 1)), rel=1e-5)
    first = x[np.random.default_rng(0).choice(600, count, replace=False)]
    scipys, _ = vq.kmeans(x, first)
    assert len(scipys) == count
    assert found < 1.03 * np.mean(np.square(vq.vq(x, scipys)[1]))


def test_the_inputs_weigh_the_errors():
    """By the definition: another book is nearer in weights, this one in what comes out."""
    v, x = points(400, 4, 2), points(500, 4, 3) * np.array([5, 1, 1, 0.1], np.float32)
    moments = x.T @ x / len(x)

    def off(book, codes):
        return np.mean(np.square(x @ (v - book[codes]).T))

    plain, weighted = kmeans.codebook(v, 16), kmeans.codebook(v, 16, moments=moments)
    assert off(*weighted) < 0.8 * off(*plain)
    assert kmeans.distortion(v, *weighted) > kmeans.distortion(v, *plain)
    book, codes = weighted
    # Each block has the code by which its outputs are nearest.
    errors = np.stack([np.mean(np.square(x @ (v - c).T), 0) for c in book], 1)
    assert np.mean(errors.argmin(1) == codes) > 0.97
    for code in range(16):
        np.testing.assert_allclose(book[code], v[codes == code].mean(0), rtol=1e-4, atol=1e-5)


def test_inputs_that_are_zero_weigh_nothing():
    book, codes = kmeans.codebook(points(40, 3), 8, moments=np.zeros((3, 3)))
    assert np.isfinite(book).all()
    assert len(np.unique(codes)) == 8


def test_empty_clusters_take_half_of_the_largest():
    x = points(200, 2)
    centers = np.concatenate([x[:2], np.full((6, 2), 99, np.float32)])
    assert len(np.unique(kmeans.nearest(x, centers))) == 2
    found, codes = kmeans.kmeans(x, centers, rounds=40)
    assert (np.bincount(codes, minlength=8) > 0).all()
    assert kmeans.distortion(x, found, codes) < 0.6 * np.mean(np.square(x)) * 2


def test_fewer_different_points_than_centers():
    x = np.repeat(points(3, 2), 5, 0)
    found, codes = kmeans.kmeans(x, x[:6], rounds=5)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[codes], x, atol=1e-2)


def test_large_sets_are_assigned_in_parts(monkeypatch):
    x = points(100)
    whole = kmeans.nearest(x, x[:7])
    monkeypatch.setattr(kmeans, "_CHUNK", 33)
    np.testing.assert_array_equal(kmeans.nearest(x, x[:7]), whole)
