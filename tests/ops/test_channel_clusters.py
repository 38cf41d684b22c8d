"""Clusters of channels: what is known in closed form, and what is better than chance."""

import itertools

import numpy as np
import pytest

from tfcompress.ops import channel_clusters, factorize


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def monochromatic_kernel(factors):
    colors, taps, color = factors
    return colors[:, color.astype(int)] * taps[:, :, None]


def test_with_a_colour_for_each_filter_each_filter_is_its_nearest_of_rank_1():
    kernel = draw((3, 2, 4, 9))
    found = channel_clusters.monochromatic(kernel, 9)
    made = monochromatic_kernel(found.factors)
    for n in range(9):
        best = factorize.svd(kernel[..., n].reshape(6, 4), 1)
        left, right = best.factors
        np.testing.assert_allclose(made[..., n].reshape(6, 4), left @ right, atol=1e-5)
    assert found.error == pytest.approx(np.linalg.norm(kernel - made) / np.linalg.norm(kernel))


def test_one_colour_is_the_first_singular_vector_of_all_filters():
    kernel = draw((3, 3, 4, 6))
    found = channel_clusters.monochromatic(kernel, 1)
    matrix = kernel.transpose(2, 0, 1, 3).reshape(4, -1)
    assert found.error == pytest.approx(factorize.svd(matrix, 1).error, abs=1e-5)


def test_more_colours_or_products_are_nearer():
    kernel = draw((3, 3, 8, 12))
    errors = [channel_clusters.monochromatic(kernel, n).error for n in (1, 3, 6, 12)]
    assert errors == sorted(errors, reverse=True)
    errors = [channel_clusters.biclustered(kernel, n, (2, 3)).error for n in (1, 2, 6, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5  # Full rank: the channels of a block times its filters.


def test_one_cluster_is_the_cp_decomposition_over_taps_channels_and_filters():
    kernel = draw((3, 3, 5, 7))
    found = channel_clusters.biclustered(kernel, 4, (1, 1), seed=3)
    whole = factorize.cp(kernel.reshape(9, 1, 5, 7), 4, seed=3)
    assert found.error == pytest.approx(whole.error)


def test_a_kernel_of_blocks_is_found_in_any_order():
    """Channels of two kinds, filters of two kinds: one outer product a block holds it."""
    random = np.random.default_rng(0)
    rows, columns = random.permutation(8) % 2, random.permutation(12) % 2
    taps = draw((3, 3, 2, 2))
    kernel = taps[:, :, rows[:, None], columns]
    found = channel_clusters.biclustered(kernel, 1, (2, 2))
    assert found.error < 0.01  # What the ridge of the least squares costs.
    *_, by_channel, by_filter = found.factors
    for numbers, kinds in ((by_channel, rows), (by_filter, columns)):
        for one, other in itertools.combinations(range(len(kinds)), 2):
            assert (numbers[one] == numbers[other]) == (kinds[one] == kinds[other])


@pytest.mark.parametrize(("points", "count"), [(12, 3), (11, 3), (2, 3), (5, 1)])
def test_clusters_have_equal_sizes(points, count):
    clusters = channel_clusters.even_clusters(draw((points, 4)), count)
    sizes = np.bincount(clusters, minlength=count)
    assert sizes.sum() == points
    assert sizes.max() - sizes.min() <= 1


def test_a_kernel_that_isnt_finite_is_refused():
    kernel = draw((3, 3, 4, 4))
    kernel[0, 0, 0, 0] = np.nan
    for decompose in (
        lambda: channel_clusters.monochromatic(kernel, 2),
        lambda: channel_clusters.biclustered(kernel, 2, (2, 2)),
    ):
        with pytest.raises(ValueError, match="finite values"):
            decompose()
