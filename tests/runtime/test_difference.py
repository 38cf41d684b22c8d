import math

import numpy as np
import pytest

from tfcompress.runtime.difference import relative_rms


def test_by_hand():
    expected = np.array([[3.0, 4.0]], np.float32)
    assert relative_rms(np.array([[3.0, 4.5]]), expected) == pytest.approx(0.1)
    assert relative_rms(1.25 * expected, expected) == pytest.approx(0.25)
    # Relative to what is expected, and not to what came.
    assert relative_rms(0 * expected, expected) == 1.0


def test_zeros():
    zeros = np.zeros(3)
    assert relative_rms(zeros, zeros) == 0.0
    assert relative_rms(zeros + 1e-9, zeros) == math.inf


def test_float32_neither_overflows_nor_drops_small_differences():
    large = np.full(4, 1e30, np.float32)
    assert relative_rms(large * np.float32(1.5), large) == pytest.approx(0.5)
    near = np.full(4, 1.0, np.float32)
    assert relative_rms(near + np.float32(1e-6), near) == pytest.approx(1e-6, rel=0.1)
