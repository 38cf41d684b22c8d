import math

import numpy as np
import pytest

from tfcompress.ops.differences import relative_rms, root_of_ratio


def test_relative_rms_by_hand():
    expected = np.array([[3.0, 0.0], [0.0, 4.0]], "float32")
    actual = np.array([[3.0, 1.0], [0.0, 6.0]], "float32")
    # sqrt((1 + 4) / (9 + 16))
    assert relative_rms(expected, actual) == pytest.approx(math.sqrt(0.2))
    # The share is of what is expected, whichever is the larger.
    assert relative_rms(actual, expected) == pytest.approx(math.sqrt(5 / 46))


def test_of_zeros_only_zeros_are_right():
    zeros = np.zeros((2, 3), "float32")
    assert relative_rms(zeros, zeros) == 0.0
    assert relative_rms(zeros, zeros + 1e-30) == math.inf
    assert relative_rms(zeros + 1, zeros) == 1.0


def test_squares_of_large_floats_dont_overflow():
    large = np.full(8, 1e30, "float32")
    assert relative_rms(large, 1.5 * large) == pytest.approx(0.5, rel=1e-6)


def test_a_value_that_is_no_number_is_none_either():
    assert math.isnan(relative_rms(np.array([1.0, 2.0]), np.array([1.0, np.nan])))


def test_in_parts_it_is_the_same():
    rng = np.random.default_rng(0)
    expected, actual = rng.standard_normal((2, 50))
    parts = [slice(0, 20), slice(20, 50)]
    sums = [
        sum(float(np.square(x[part]).sum()) for part in parts)
        for x in (actual - expected, expected)
    ]
    assert root_of_ratio(*sums) == pytest.approx(relative_rms(expected, actual))


def test_relative_to_what_is_expected():
    expected = np.array([[3.0, 4.0]], np.float32)
    assert relative_rms(expected, np.array([[3.0, 4.5]])) == pytest.approx(0.1)
    assert relative_rms(expected, 1.25 * expected) == pytest.approx(0.25)
    assert relative_rms(expected, 0 * expected) == 1.0


def test_float32_neither_overflows_nor_drops_small_differences():
    large = np.full(4, 1e30, np.float32)
    assert relative_rms(large, large * np.float32(1.5)) == pytest.approx(0.5)
    near = np.full(4, 1.0, np.float32)
    assert relative_rms(near, near + np.float32(1e-6)) == pytest.approx(1e-6, rel=0.1)
