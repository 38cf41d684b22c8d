import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests import checks
from tfcompress.ops import hashing

MASK = 2**64 - 1
PINNED = [1593918348581160074, 6819106056273044032, 4370843013644962721]
PINNED_INDICES = [3214669520, 398688992, 3680641308]


def splitmix(value):
    """SplitMix64's finaliser on whole numbers of any size."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def pair_hash(row, column, seed):
    start = splitmix((seed + 1) * 0x9E3779B97F4A7C15 & MASK)
    return splitmix((row * 2**32 + column + start) & MASK)


def index_hash(index, seed):
    """MurmurHash3's fmix32 on whole numbers of any size, of an index that the seed has moved."""
    start = splitmix((seed + 1) * 0x9E3779B97F4A7C15 & MASK)
    key = (index * (start >> 32 | 1) ^ start) & 0xFFFFFFFF
    key = (key ^ key >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    key = (key ^ key >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return key ^ key >> 16


def elementwise(weights, rows, columns, seed):
    """The formula of the docstring, one logical weight at a time."""
    out = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            bits = index_hash(i * columns + j, seed)
            out[i, j] = weights[bits // 2 % len(weights)] * (-1 if bits >= 2**31 else 1)
    return out


def permutation(weights, rows, columns, blocks, seed):
    """Likewise; also returns how often each stored weight is used."""
    width = weights.shape[1]
    out, uses = np.full((rows, columns), np.nan), np.zeros_like(weights)
    for q in range(blocks):
        bits = [pair_hash(q, i, seed) for i in range(rows)]
        order = sorted(range(rows), key=bits.__getitem__)
        for i in range(rows):
            for r in range(width):
                if q * width + r < columns:
                    assert np.isnan(out[order[i], q * width + r])
                    sign = -1 if bits[i] % 2 else 1
                    out[order[i], q * width + r] = weights[i, r] * sign
                    uses[i, r] += 1
    return out, uses


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


# Rows, columns, ratio.
CASES = [(6, 8, 1 / 4), (5, 7, 1 / 3), (9, 3, 1 / 8), (1, 16, 1 / 16), (4, 4, 1.0), (3, 1, 1 / 64)]


def test_hash_is_splitmix():
    got = hashing.hash_pairs(np.arange(4)[:, None], np.array([0, 1, 2**32 - 1]), seed=3)
    expected = [[pair_hash(i, j, 3) for j in (0, 1, 2**32 - 1)] for i in range(4)]
    assert got.tolist() == expected


def test_hash_is_pinned():
    """Saved models hold no positions: another hash would make them another function."""
    got = hashing.hash_pairs(np.arange(3), np.arange(3), seed=7).tolist()
    assert got == [pair_hash(i, i, 7) for i in range(3)]
    assert got == PINNED
    got = hashing.hash_indices(np.array([0, 1, 2**32 - 1]), seed=7).tolist()
    assert got == [index_hash(index, 7) for index in (0, 1, 2**32 - 1)]
    assert got == PINNED_INDICES


def test_positions_are_the_same_in_another_process():
    code = (
        "from tfcompress.ops import hashing\n"
        "one = hashing.ElementwiseHash(5, 6, 0.3, 1)\n"
        "other = hashing.PermutationHash(5, 6, 0.5, 1)\n"
        "print(one.places.tolist(), one.signs.tolist())\n"
        "print(other.orders.tolist(), other.signs.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "123", "KERAS_BACKEND": "numpy"},  # Which is imported fastest.
    )  # fmt: skip
    one, other = hashing.ElementwiseHash(5, 6, 0.3, 1), hashing.PermutationHash(5, 6, 0.5, 1)
    here = one.places.tolist(), one.signs.tolist(), other.orders.tolist(), other.signs.tolist()
    assert done.stdout.split() == " ".join(map(str, here)).split()


def test_hash_spreads():
    """Buckets and signs are even and independent: deviations of a few standard errors at most."""
    bits = hashing.hash_pairs(np.arange(300)[:, None], np.arange(400), seed=0)
    ones = (bits.ravel()[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(ones.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(bits.size)
    counts = np.bincount((bits.ravel() >> np.uint64(32)) * np.uint64(1000) >> np.uint64(32))
    chi_square = ((counts - 120) ** 2 / 120).sum()
    assert abs(chi_square - 999) < 5 * np.sqrt(2 * 999)
    assert len(np.unique(bits)) == bits.size


def test_hash_of_indices_spreads():
    """So do places and signs, each beside the other and from one index to the next."""
    plan = hashing.ElementwiseHash(300, 400, 1 / 120, seed=0)
    pairs = plan.places.ravel() * 2 + (plan.signs.ravel() < 0)
    chi_square = ((np.bincount(pairs) - 60) ** 2 / 60).sum()
    assert abs(chi_square - 1999) < 5 * np.sqrt(2 * 1999)
    for step in (1, 2, 400):  # Neighbours in a row and in a column.
        both = (pairs[:-step] % 50) * 50 + pairs[step:] % 50
        counts, mean = np.bincount(both), len(both) / 2500
        assert abs(((counts - mean) ** 2 / mean).sum() - 2499) < 5 * np.sqrt(2 * 2499)
    other = hashing.ElementwiseHash(300, 400, 1 / 120, seed=1)
    assert abs((other.places == plan.places).mean() - 1 / 1000) < 5 * np.sqrt(1 / 1000 / 120000)


@pytest.mark.parametrize(("rows", "columns", "ratio"), CASES)
def test_elementwise_expansion_is_the_loops(rows, columns, ratio):
    plan = hashing.ElementwiseHash(rows, columns, ratio, seed=5)
    assert plan.stored_shape == (max(1, round(ratio * rows * columns)),)
    weights = draw(plan.stored_shape)
    expanded = ops.convert_to_numpy(plan.expand(weights))
    np.testing.assert_array_equal(
        expanded, elementwise(weights, rows, columns, 5).astype("float32")
    )


@pytest.mark.parametrize(("rows", "columns", "ratio"), CASES)
def test_permutation_expansion_is_the_loops(rows, columns, ratio):
    plan = hashing.PermutationHash(rows, columns, ratio, seed=5)
    assert plan.stored_shape == (rows, -(-columns // round(1 / ratio)))
    weights = draw(plan.stored_shape)
    expected, uses = permutation(weights, rows, columns, plan.blocks, 5)
    np.testing.assert_array_equal(ops.convert_to_numpy(plan.expand(weights)), expected)
    if columns % round(1 / ratio) == 0:
        assert (uses == 1 / ratio).all()
    x = draw((3, rows), 1)
    np.testing.assert_allclose(
        ops.convert_to_numpy(plan.product(x, weights)), x @ expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["permutation", "elementwise"])
@pytest.mark.parametrize("sorted_up_to", [0, 2**24])
@pytest.mark.parametrize(("rows", "columns", "ratio"), CASES)
def test_gradient_of_the_expansion_sums_places(
    rows, columns, ratio, sorted_up_to, kind, monkeypatch
):
    """By the expansion of each stored weight alone, which says where it stands."""
    monkeypatch.setattr(hashing, "SORTED_UP_TO", sorted_up_to)
    plan = hashing.make(kind, rows, columns, ratio, 5)
    upstream = draw((rows, columns), 2)
    (found,) = checks.gradients(
        lambda w: ops.sum(plan.expand(w) * upstream), draw(plan.stored_shape)
    )
    expected = np.zeros(plan.stored_shape)
    for index in np.ndindex(plan.stored_shape):
        alone = np.zeros(plan.stored_shape)
        alone[index] = 1
        if kind == "elementwise":
            where = elementwise(alone, rows, columns, 5)
        else:
            where, _ = permutation(alone, rows, columns, plan.blocks, 5)
        expected[index] = (where * upstream).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["permutation", "elementwise"])
@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize(("rows", "columns", "ratio"), CASES)
def test_product_and_its_gradients_are_the_expansions(
    rows, columns, ratio, kind, in_parts, monkeypatch
):
    if in_parts:
        monkeypatch.setattr(hashing, "_AT_ONCE", 2 * columns)
    plan = hashing.make(kind, rows, columns, ratio, 2)
    x, weights, upstream = draw((3, rows), 1), draw(plan.stored_shape), draw((3, columns), 2)
    expanded = ops.convert_to_numpy(plan.expand(weights))
    product = ops.convert_to_numpy(plan.product(x, weights))
    np.testing.assert_allclose(product, x @ expanded, rtol=1e-4, atol=1e-5)
    of_x, of_weights = checks.gradients(
        lambda x, w: ops.sum(plan.product(x, w) * upstream), x, weights
    )
    np.testing.assert_allclose(of_x, upstream @ expanded.T, rtol=1e-4, atol=1e-5)
    (expected,) = checks.gradients(lambda w: ops.sum(plan.expand(w) * (x.T @ upstream)), weights)
    np.testing.assert_allclose(of_weights, expected, rtol=1e-4, atol=1e-5)


def test_leading_axes_are_expanded_each():
    plan = hashing.PermutationHash(5, 7, 1 / 3, seed=0)
    weights = draw((2, 3, *plan.stored_shape))
    expanded = ops.convert_to_numpy(plan.expand(weights))
    assert expanded.shape == (2, 3, 5, 7)
    for i, j in np.ndindex(2, 3):
        expected, _ = permutation(weights[i, j], 5, 7, plan.blocks, 0)
        np.testing.assert_array_equal(expanded[i, j], expected)


def test_scaled_gradient():
    x = draw((3, 4))
    np.testing.assert_array_equal(ops.convert_to_numpy(hashing.scaled_gradient(x, 0.25)), x)
    (found,) = checks.gradients(lambda x: ops.sum(hashing.scaled_gradient(x, 0.25) ** 2), x)
    np.testing.assert_allclose(found, 0.5 * x, rtol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    kind=st.sampled_from(["permutation", "elementwise"]),
    rows=st.integers(1, 12),
    columns=st.integers(1, 20),
    times=st.integers(1, 24),
    seed=st.integers(0, 2**32 - 1),
)
def test_projection_undoes_expansion(kind, rows, columns, times, seed):
    plan = hashing.make(kind, rows, columns, 1 / times, seed)
    weights = draw(plan.stored_shape)
    expanded = ops.convert_to_numpy(plan.expand(weights))
    assert expanded.shape == (rows, columns)
    assert set(np.abs(expanded).ravel()) <= set(np.abs(weights).ravel())
    found = plan.project(expanded)
    used = np.isin(np.abs(weights), np.abs(expanded))
    np.testing.assert_allclose(found, np.where(used, weights, 0), rtol=1e-6)
    assert used.all() or kind == "elementwise"


@pytest.mark.parametrize("kind", ["permutation", "elementwise"])
def test_projection_is_least_squares(kind):
    plan = hashing.make(kind, 5, 8, 1 / 4, 0)
    kernel = draw((5, 8))
    basis = np.stack(
        [
            ops.convert_to_numpy(plan.expand(unit.astype("float32").reshape(plan.stored_shape)))
            for unit in np.eye(int(np.prod(plan.stored_shape)))
        ]
    )
    expected = np.linalg.lstsq(basis.reshape(len(basis), -1).T, kernel.ravel(), rcond=None)[0]
    np.testing.assert_allclose(plan.project(kernel).ravel(), expected, rtol=1e-4, atol=1e-6)


def test_other_seeds_give_other_positions():
    one, other = (hashing.PermutationHash(50, 8, 1 / 4, seed) for seed in (0, 1))
    assert (one.orders != other.orders).mean() > 0.9
    one, other = (hashing.ElementwiseHash(50, 8, 1 / 4, seed) for seed in (0, 1))
    assert (one.places != other.places).mean() > 0.9


@pytest.mark.parametrize(
    ("ratio", "kind", "message"),
    [
        (0.0, "elementwise", "above 0 and at most 1.*compression_ratio=0.0"),
        (1.5, "permutation", "above 0 and at most 1.*compression_ratio=1.5"),
        (float("nan"), "elementwise", "above 0 and at most 1.*compression_ratio=nan"),
        (0.3, "permutation", "1 by a whole number.*'elementwise' takes any.*ratio=0.3"),
        (0.5, "xxhash", "'permutation' or 'elementwise'.*hashing='xxhash'"),
    ],
)
def test_bad_arguments(ratio, kind, message):
    with pytest.raises(ValueError, match=message):
        hashing.make(kind, 4, 4, ratio, 0)


def test_a_third_is_one_by_a_whole_number():
    for times in range(1, 200):
        hashing.check_ratio(1 / times, "permutation")
