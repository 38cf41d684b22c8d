import io
import json

import numpy as np
import pytest

from tfcompress.benchmark import child
from tfcompress.runtime.child import Reporter, make_input


@pytest.mark.parametrize(
    ("fastest_s", "runs", "count"),
    [
        (0.000001, 200, 10),  # never more than ten
        (0.001, 200, 5),  # five of 1 ms fill 5 ms
        (0.02, 200, 1),
        (0.000001, 60, 3),  # 20 rounds are kept
        (0.000001, 5, 1),
        (0.0, 200, 10),
    ],
)
def test_block_runs(fastest_s, runs, count):
    assert child.block_runs(fastest_s, runs) == count


def test_each_file_is_first_in_turn():
    assert [child.rotated(3, by) for by in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_inputs_are_fixed_and_of_the_tensors_type():
    floats = {"shape": np.array([1, 8, 8, 3]), "dtype": np.float32}
    first = make_input(floats, 1)
    assert first.dtype == np.float32
    assert first.shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(first, make_input(floats, 1))
    assert not np.array_equal(first, make_input(floats, 2))
    bytes_ = make_input({"shape": np.array([1000]), "dtype": np.int8}, 1)
    assert bytes_.dtype == np.int8
    assert bytes_.min() < -100
    assert bytes_.max() > 100
    assert not make_input({"shape": np.array([4]), "dtype": np.int32}, 1).any()


def test_an_error_carries_the_announced_stage():
    stream = io.StringIO()
    report = Reporter(stream)
    report.stage("load", "m.tflite")
    report.error("no")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[-1] == {"stage": "load", "file": "m.tflite", "error": "no"}
