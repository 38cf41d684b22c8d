"""Fixed-point numbers, powers of two and rounded errors against NumPy, zeros and ends included."""

import keras
import numpy as np
import pytest

from tests import checks
from tfcompress.ops import fixed_point

X = np.array([-3.0, -1.0, -0.25, -1e-30, 0.0, 0.2, 0.26, 0.74, 0.75, 1.0, 1.4, 1.5, 9e4], "float32")


def tensor(x):
    return keras.ops.convert_to_tensor(np.asarray(x, "float32"))


def shift(x):
    return 2.0 ** np.round(np.log2(x))


def test_powers_of_two():
    expected = np.where(X == 0, 0.0, np.sign(X) * shift(np.where(X == 0, 1.0, np.abs(X))))
    np.testing.assert_array_equal(np.asarray(fixed_point.power_of_two(tensor(X))), expected)
    powers = 2.0 ** np.arange(-120.0, 120.0)
    np.testing.assert_array_equal(np.asarray(fixed_point.power_of_two(tensor(powers))), powers)


@pytest.mark.parametrize("num_bits", [2, 3, 8])
def test_rounded_to_the_grid(num_bits):
    step = 2.0 ** (1 - num_bits)
    expected = np.clip(np.round(X / step), 1 - 1 / step, 1 / step - 1) * step
    got = np.asarray(fixed_point.rounded(tensor(X), num_bits))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert np.abs(got).max() == 1 - step


@pytest.mark.parametrize("size", [1e-7, 3.0, 0.0])
def test_errors_are_rounded_by_the_largest_of_all(size):
    upstream = size * np.random.default_rng(0).normal(size=(4, 3, 5)).astype("float32")
    x = np.random.default_rng(1).normal(size=upstream.shape).astype("float32")
    (got,) = checks.gradients(
        lambda x: keras.ops.sum(fixed_point.rounded_errors(x, 4) * upstream), x
    )
    largest = np.abs(upstream).max()
    scaled = upstream / shift(largest) if size else upstream
    np.testing.assert_allclose(got, np.clip(np.round(scaled * 8), -7, 7) / 8, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(fixed_point.rounded_errors(tensor(x), 4)), x)
