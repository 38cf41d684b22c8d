import base64
import math

import numpy as np
import pytest

from tfcompress.benchmark.parity import compare


def output(values, dtype="float32", place=3, quantization=None):
    array = np.asarray(values, dtype)
    return {
        "place": place,
        "dtype": dtype,
        "shape": list(array.shape),
        "data": base64.b64encode(array.tobytes()).decode(),
        "quantization": quantization,
    }


def test_by_hand():
    found = compare([output([3.0, 4.5])], [output([3.0, 4.0])], tolerance=0.1)
    assert found.relative_rms == pytest.approx(0.5 / 5)
    assert found.max_abs == 0.5
    assert found.holds
    assert not compare([output([3.0, 4.6])], [output([3.0, 4.0])], tolerance=0.1).holds


def test_the_worst_output_counts():
    wanted = [output([100.0], place=1), output([1.0], place=2)]
    found = compare([output([1.5], place=2), output([100.0], place=1)], wanted, tolerance=0.1)
    assert found.relative_rms == pytest.approx(0.5)


def test_integers_are_compared_as_the_reals_they_stand_for():
    # 0.5 * (value - 10): 5 and 10 against 5 and 9.5. The backend names no scale.
    wanted = [output([20, 30], "int8", quantization=[0.5, 10])]
    found = compare([output([20, 29], "int8")], wanted, tolerance=0.1)
    assert found.relative_rms == pytest.approx(0.5 / math.sqrt(125))
    assert found.max_abs == 0.5


@pytest.mark.parametrize(
    "found",
    [
        [],
        [output([1.0, 2.0], place=4)],
        [output([[1.0, 2.0]])],
        [output([1, 2], "int8")],
        [output([1.0, math.nan])],
        [output([1.0, math.inf])],
    ],
    ids=["none", "elsewhere", "shape", "type", "NaN", "infinity"],
)
def test_what_can_not_be_compared_does_not_hold(found):
    assert not compare(found, [output([1.0, 2.0])], tolerance=1e9).holds


def test_equal_infinities_and_zeros_hold():
    both = [output([-math.inf, 2.0])]
    assert compare(both, both, tolerance=0).relative_rms == 0
    assert compare([output([0.0])], [output([0.0])], tolerance=0).holds
    assert not compare([output([1e-9])], [output([0.0])], tolerance=1).holds
