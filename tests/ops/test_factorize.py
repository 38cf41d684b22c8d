import numpy as np
import pytest
import tensorly
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcompress.ops import factorize

sizes = st.integers(1, 4)


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def relative(kernel, made):
    return np.linalg.norm(kernel - made) / np.linalg.norm(kernel)


def cp_loops(factors):
    """The sum of outer products, one component at a time."""
    total = 0.0
    for a, b, p, q in zip(*(f.T for f in factors), strict=True):
        total = total + np.multiply.outer(np.multiply.outer(np.multiply.outer(a, b), p), q)
    return total


def spatial_loops(factors):
    vertical, horizontal = factors
    height, width = vertical.shape[0], horizontal.shape[1]
    return np.array(
        [[vertical[i, 0] @ horizontal[0, j] for j in range(width)] for i in range(height)]
    )


def tucker_loops(factors):
    before, core, behind = factors
    height, width = core.shape[:2]
    return np.array([[before @ core[i, j] @ behind for j in range(width)] for i in range(height)])


def train_loops(cores):
    made = cores[0]
    for core in cores[1:]:
        made = np.tensordot(made, core, axes=(-1, 0))
    return made[0, ..., 0]


METHODS = {
    "cp": (lambda k, **o: factorize.cp(k, o.get("rank", 10**4)), cp_loops),
    "spatial": (lambda k, **o: factorize.spatial(k, o.get("rank", 10**4)), spatial_loops),
    "tucker2": (
        lambda k, **o: factorize.tucker2(k, (o.get("rank", 10**4),) * 2),
        tucker_loops,
    ),
    "tensor_train": (
        lambda k, **o: factorize.tensor_train(k, o.get("rank", 10**4)),
        train_loops,
    ),
}


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25, deadline=None)
@given(shape=st.tuples(sizes, sizes, st.integers(1, 6), st.integers(1, 6)), seed=st.integers(0, 99))
def test_full_rank_is_identity(name, shape, seed):
    kernel = draw(shape, seed)
    decompose, loops = METHODS[name]
    found = decompose(kernel)
    made = loops(found.factors)
    np.testing.assert_allclose(made, kernel, atol=1e-5)
    assert found.error < 1e-5


def test_the_factors_are_tensorlys():
    """Which factor stands for which axis, and in which order: by a library from outside."""
    kernel = draw((3, 2, 5, 4))
    cp = factorize.cp(kernel, 6)
    by_tensorly = tensorly.cp_to_tensor((None, list(cp.factors)))
    np.testing.assert_allclose(factorize.cp_kernel(cp.factors), by_tensorly, atol=1e-5)
    assert relative(kernel, by_tensorly) == pytest.approx(cp.error, abs=1e-5)
    tucker = factorize.tucker2(kernel, (3, 2))
    before, core, behind = tucker.factors
    ones = [np.eye(size, dtype="float32") for size in core.shape[:2]]
    by_tensorly = tensorly.tucker_to_tensor((core, [*ones, before, behind.T]))
    assert relative(kernel, by_tensorly) == pytest.approx(tucker.error, abs=1e-5)
    train = factorize.tensor_train(kernel, 3)
    by_tensorly = tensorly.tt_to_tensor(list(train.factors))
    assert relative(kernel, by_tensorly) == pytest.approx(train.error, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_the_error_is_the_factors(name, rank):
    kernel = draw((3, 3, 8, 10))
    decompose, loops = METHODS[name]
    found = decompose(kernel, rank=rank)
    made = loops(found.factors)
    assert made.shape == kernel.shape
    assert found.error == pytest.approx(relative(kernel, made), rel=1e-4)
    assert 0 < found.error < 1


@pytest.mark.parametrize("name", METHODS)
def test_scales_with_the_kernel_and_starts_the_same(name):
    kernel = draw((3, 3, 6, 5))
    decompose, _ = METHODS[name]
    once, again, larger = (decompose(scale * kernel, rank=4) for scale in (1, 1, 1000))
    for one, other in zip(once.factors, again.factors, strict=True):
        np.testing.assert_array_equal(one, other)
    assert larger.error == pytest.approx(once.error, rel=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_zeros_stay_zeros(name):
    decompose, loops = METHODS[name]
    found = decompose(np.zeros((3, 3, 4, 5), "f4"), rank=2)
    assert all(np.isfinite(f).all() for f in found.factors)
    made = loops(found.factors)
    np.testing.assert_array_equal(made, np.zeros((3, 3, 4, 5)))


def test_svd_is_the_best_of_its_rank():
    matrix = draw((7, 9))
    values = np.linalg.svd(matrix, compute_uv=False)
    found = factorize.svd(matrix, 3)
    left, right = found.factors
    assert (left.shape, right.shape) == ((7, 3), (3, 9))
    best = np.sqrt((values[3:] ** 2).sum() / (values**2).sum())
    assert relative(matrix, left @ right) == pytest.approx(best, rel=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1), rtol=1e-5
    )


def test_cp_spreads_each_component_evenly():
    found = factorize.cp(100 * draw((3, 3, 12, 16)), 20)
    norms = np.array([np.linalg.norm(f, axis=0) for f in found.factors])
    np.testing.assert_allclose(norms, np.broadcast_to(norms[:1], norms.shape), rtol=1e-4)


def test_cp_components_dont_grow_against_one_another():
    """The sum of a limit of two components that has no best approximation (de Silva, Lim 2008)."""
    a, b = np.eye(2, 3, dtype="f4")
    parts = [(b, a, a, a), (a, b, a, a), (a, a, b, a), (a, a, a, b)]
    kernel = cp_loops([np.stack(f, 1) for f in zip(*parts, strict=True)]).astype("f4")
    found = factorize.cp(kernel, 2, iterations=500, tolerance=0.0)
    energies = np.prod([np.linalg.norm(f, axis=0) for f in found.factors], axis=0) ** 2
    assert energies.sum() < 100 * np.linalg.norm(kernel) ** 2
    assert found.error < 0.6


def test_cp_finds_what_a_kernel_was_made_of():
    factors = [draw((n, 5), seed) for seed, n in enumerate((3, 3, 16, 24))]
    kernel = cp_loops(factors).astype("f4")
    assert factorize.cp(kernel, 5, restarts=3, tolerance=0).error < 0.02


def test_cp_more_restarts_are_no_worse_and_sweeps_are_limited():
    kernel = draw((3, 3, 8, 8))
    one, three = (factorize.cp(kernel, 9, restarts=n) for n in (1, 3))
    assert three.error <= one.error
    assert factorize.cp(kernel, 9, iterations=4, tolerance=0).sweeps == 4
    assert factorize.cp(kernel, 9, seed=1).error != one.error


def test_cp_is_no_worse_than_the_largest_slices():
    """Of a kernel with one tap the slices' decomposition is the best there is."""
    kernel = np.zeros((3, 3, 6, 6), "f4")
    kernel[1, 2] = draw((6, 6))
    values = np.linalg.svd(kernel[1, 2], compute_uv=False)
    best = np.sqrt((values[2:] ** 2).sum() / (values**2).sum())
    assert factorize.cp(kernel, 2).error <= best * (1 + 1e-6)


@pytest.mark.parametrize(
    ("shape", "rank"),
    [((3, 3, 64, 256), 9 * 64), ((3, 3, 1, 32), 9), ((1, 1, 5, 7), 5), ((5, 1, 8, 4), 20)],
)
def test_cp_full_rank(shape, rank):
    assert factorize.cp_full_rank(shape) == rank


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: factorize.cp(k, 0), "rank must be positive.*rank=0"),
        (lambda k: factorize.cp(k[0], 1), r"4 axes.*shape=\(3, 4, 5\)"),
        (lambda k: factorize.cp(k * np.nan, 1), "finite values"),
        (lambda k: factorize.cp(k, 1, iterations=0), "iterations=0"),
        (lambda k: factorize.cp(k, 1, restarts=0), "restarts=0"),
        (lambda k: factorize.svd(k, 1), "2 axes"),
        (lambda k: factorize.spatial(k, -1), "rank=-1"),
        (lambda k: factorize.tucker2(k, (2, 0)), "rank=0"),
        (lambda k: factorize.tensor_train(k, 0), "rank=0"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(draw((3, 3, 4, 5)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cp_goes_on_until_nothing_is_gained(seed):
    """The default tolerance stops near to where many more sweeps would come to."""
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((n, 12)) for n in (3, 3, 16, 24)]
    kernel = cp_loops(parts) + 0.3 * rng.standard_normal((3, 3, 16, 24))
    kernel = kernel.astype("float32")
    longest = factorize.cp(kernel, 8, tolerance=0, iterations=400)
    usual = factorize.cp(kernel, 8)
    assert usual.error == pytest.approx(longest.error, abs=0.002)
    assert usual.sweeps < longest.sweeps
