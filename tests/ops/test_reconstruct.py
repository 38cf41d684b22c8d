"""The responses' closed forms against the textbook's, written out with whitening and inverses."""

import numpy as np
import pytest

from tests import checks
from tfcompress.ops import factorize, reconstruct

SHAPE = (3, 3, 4, 10)


def draw(rows=600, shape=SHAPE, seed=0):
    """Correlated inputs of very different sizes, and a kernel."""
    rng = np.random.default_rng(seed)
    inputs = int(np.prod(shape[:-1]))
    mix = rng.normal(size=(inputs, inputs)) * np.geomspace(0.05, 1, inputs)
    x = rng.normal(size=(rows, inputs)) @ mix
    return x.astype("float32"), rng.normal(size=shape).astype("float32")


def matrix(kernel):
    return kernel.reshape(-1, kernel.shape[-1])


@pytest.mark.parametrize("size", [(7, 6), (8, 9)])
@pytest.mark.parametrize("kernel_size", [(3, 3), (1, 1), (2, 5)])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"padding": "same"},
        {"strides": (2, 3), "padding": "same"},
        {"strides": (2, 1)},
        {"dilation_rate": (2, 1)},
        {"dilation_rate": (2, 2), "padding": "same"},
    ],
)
def test_patches_are_what_a_convolution_multiplies(size, kernel_size, how):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, *size, 3)), rng.normal(size=(*kernel_size, 3, 4))
    naive = {{"dilation_rate": "dilation"}.get(key, key): value for key, value in how.items()}
    expected = checks.conv2d(x, kernel, **naive)
    assert reconstruct.output_size(size, kernel_size, **how) == expected.shape[1:3]
    at = np.stack([rng.permutation(expected[0, ..., 0].size) for _ in x])[:, :5]
    rows = reconstruct.patches(x, at, kernel_size, **how)
    chosen = np.stack([image.reshape(-1, 4)[a] for image, a in zip(expected, at, strict=True)])
    np.testing.assert_allclose(rows @ matrix(kernel), chosen.reshape(-1, 4), atol=1e-12)


@pytest.mark.parametrize("rank", [1, 4, 9])
def test_low_rank_is_the_svd_of_the_whitened_kernel(rank):
    x, kernel = draw()
    root = np.linalg.cholesky(x.T.astype(float) @ x / len(x))
    left, values, right = np.linalg.svd(root.T @ matrix(kernel), full_matrices=False)
    expected = np.linalg.inv(root.T) @ (left[:, :rank] * values[:rank]) @ right[:rank]
    found = reconstruct.low_rank(x, kernel, rank, ridge=0.0)
    assert found.shape == kernel.shape
    np.testing.assert_allclose(matrix(found), expected, atol=1e-7)
    lost = np.sqrt((values[rank:] ** 2).sum() / (values**2).sum())
    error = reconstruct.response_error(x, x @ matrix(kernel), matrix(found))
    np.testing.assert_allclose(error, lost, rtol=1e-5)


@pytest.mark.parametrize("rank", [2, 7])
def test_both_steps_are_reduced_rank_regression(rank):
    """Izenman 1975: least squares, projected onto the fitted responses' principal axes."""
    x, kernel = draw()
    rng = np.random.default_rng(1)
    targets = x @ matrix(kernel) + rng.normal(size=(len(x), 10))
    ordinary, *_ = np.linalg.lstsq(x.astype(float), targets, rcond=None)
    _, _, axes = np.linalg.svd(x @ ordinary, full_matrices=False)
    expected = ordinary @ axes[:rank].T @ axes[:rank]
    wanted = reconstruct.regress(x, targets, matrix(kernel), ridge=0.0)
    np.testing.assert_allclose(wanted, ordinary, atol=1e-7)
    found = reconstruct.low_rank(x, wanted, rank, ridge=0.0)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("rows", [20, 36, 600])
def test_regression_stays_near_the_kernel_where_there_is_no_data(rows):
    x, kernel = draw(rows)
    targets = np.random.default_rng(1).normal(size=(rows, 10))
    w = matrix(kernel).astype(float)
    penalty = 0.1 * (x.astype(float) ** 2).mean() * np.eye(36)
    inverse = np.linalg.inv(x.T.astype(float) @ x / rows + penalty)
    expected = w + inverse @ x.T @ (targets - x @ w) / rows
    np.testing.assert_allclose(reconstruct.regress(x, targets, w, ridge=0.1), expected, atol=1e-7)
    # With the targets that the kernel gives there is nothing to change.
    np.testing.assert_allclose(reconstruct.regress(x, x @ w, w), w, atol=1e-7)


@pytest.mark.parametrize(("function", "full"), [("low_rank", 10), ("separable", 12)])
def test_full_rank_is_the_kernel(function, full):
    x, kernel = draw()
    for rank in (full, full + 5):
        found = getattr(reconstruct, function)(x, kernel, rank)
        np.testing.assert_allclose(found, kernel, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rank", [1, 3, 6])
@pytest.mark.parametrize("shape", [SHAPE, (1, 3, 6, 8), (3, 2, 4, 7)])
def test_nearer_to_the_responses_than_the_weights_form(seed, rank, shape):
    x, kernel = draw(shape=shape, seed=seed)
    targets = x @ matrix(kernel)

    def error(found):
        return reconstruct.response_error(x, targets, matrix(found))

    left, right = factorize.svd(matrix(kernel), rank).factors
    assert error(reconstruct.low_rank(x, kernel, rank)) <= error(left @ right)
    vertical, horizontal = factorize.spatial(kernel, rank).factors
    by_weights = np.einsum("icr,jrn->ijcn", vertical[:, 0], horizontal[0])
    found = reconstruct.separable(x, kernel, rank)
    assert error(found) <= error(by_weights) + 1e-6
    assert np.linalg.matrix_rank(factorize.spatial_matrix(found), tol=1e-6) <= rank
    # More sweeps never make it worse.
    assert error(found) <= error(reconstruct.separable(x, kernel, rank, sweeps=1)) + 1e-6


def test_white_inputs_leave_the_weights_form():
    """In the metric of the unit matrix the nearest kernel is the SVD's."""
    _, kernel = draw()
    x = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 36)))[0] * 10
    vertical, horizontal = factorize.spatial(kernel, 4).factors
    expected = np.einsum("icr,jrn->ijcn", vertical[:, 0], horizontal[0])
    np.testing.assert_allclose(reconstruct.separable(x, kernel, 4), expected, atol=3e-6)
    left, right = factorize.svd(matrix(kernel), 4).factors
    found = matrix(reconstruct.low_rank(x, kernel, 4))
    np.testing.assert_allclose(found, left @ right, atol=3e-6)


def test_inputs_of_zeros_leave_the_weights_form():
    x, kernel = draw()
    left, right = factorize.svd(matrix(kernel), 4).factors
    found = matrix(reconstruct.low_rank(np.zeros_like(x), kernel, 4))
    np.testing.assert_allclose(found, left @ right, atol=3e-6)
    assert np.isfinite(reconstruct.separable(np.zeros_like(x), kernel, 4)).all()
    assert not reconstruct.separable(x, np.zeros_like(kernel), 4).any()
    np.testing.assert_allclose(
        reconstruct.regress(np.zeros_like(x), np.zeros((len(x), 10)), matrix(kernel)),
        matrix(kernel),
    )


def test_ridges_are_shares_of_the_inputs_mean_square():
    """1e-2 for the regression and 1e-4 for the rest, written out with the plain matrices."""
    x, kernel = draw(rows=200)
    x, w = x.astype(float), matrix(kernel).astype(float)
    targets = x @ w + np.random.default_rng(1).normal(size=(200, 10))
    square = (x**2).mean()
    second = x.T @ x / len(x)
    ridge = 1e-2 * square * np.eye(len(w))
    expected = w + np.linalg.inv(second + ridge) @ x.T @ (targets - x @ w) / len(x)
    np.testing.assert_allclose(reconstruct.regress(x, targets, w), expected, rtol=1e-6)
    responses = w.T @ (second + 1e-4 * square * np.eye(len(w))) @ w
    axes = np.linalg.eigh(responses)[1][:, -3:]
    np.testing.assert_allclose(reconstruct.low_rank(x, w, 3), w @ axes @ axes.T, rtol=1e-6)
    by_default = reconstruct.separable(x, kernel, 3)
    np.testing.assert_array_equal(by_default, reconstruct.separable(x, kernel, 3, ridge=1e-4))
