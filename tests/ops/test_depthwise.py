import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcompress.ops.depthwise import factorise


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def product(depthwise, pointwise):
    """The full kernel, one channel at a time."""
    height, width, channels, multiplier = depthwise.shape
    out = np.zeros((height, width, channels, pointwise.shape[-1]))
    for c in range(channels):
        for j in range(multiplier):
            out[:, :, c] += depthwise[:, :, c, j, None] * pointwise[0, 0, c * multiplier + j]
    return out


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6))
def test_full_rank_is_the_kernel(height, width, channels, filters):
    kernel = draw((height, width, channels, filters))
    depthwise, pointwise = factorise(kernel, min(height * width, filters))
    np.testing.assert_allclose(product(depthwise, pointwise), kernel, atol=1e-5)


def test_a_kernel_of_rank_1_is_found_exactly():
    kernel = draw((3, 3, 4, 1)) * draw((1, 1, 4, 6), seed=1)
    np.testing.assert_allclose(product(*factorise(kernel)), kernel, atol=1e-5)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_error_is_the_left_out_singular_values(multiplier):
    kernel = draw((3, 3, 5, 8))
    error = ((product(*factorise(kernel, multiplier)) - kernel) ** 2).sum()
    left_out = sum(
        (np.linalg.svd(kernel[:, :, c].reshape(9, 8))[1][multiplier:] ** 2).sum() for c in range(5)
    )
    np.testing.assert_allclose(error, left_out, rtol=3e-6)


def test_depthwise_kernels_have_norm_1_and_sums_of_0_or_more():
    depthwise, pointwise = factorise(draw((3, 2, 5, 7)), 2)
    assert depthwise.dtype == pointwise.dtype == np.float32
    assert (depthwise.sum(axis=(0, 1)) >= 0).all()
    np.testing.assert_allclose((depthwise**2).sum(axis=(0, 1)), 1, rtol=1e-6)


def test_beyond_the_rank_is_zero():
    kernel = draw((1, 2, 3, 4))
    depthwise, pointwise = factorise(kernel, 5)
    assert depthwise.shape == (1, 2, 3, 5)
    assert pointwise.shape == (1, 1, 15, 4)
    np.testing.assert_allclose(product(depthwise, pointwise), kernel, atol=1e-5)
    assert not depthwise[..., 2:].any()
