import gc
import io
import itertools
import json

import numpy as np
import pytest

from tests.benchmark.machine import Machine, measure
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


def test_loads_and_first_runs_without_the_librarys_start(monkeypatch):
    machine = Machine(
        run_ns={"a": 10_000_000, "b": 20_000_000},
        load_ns={"a": 7_000, "b": 9_000},
        first_ns={"a": 300, "b": 500},
    )
    answer = measure(monkeypatch, machine)
    assert answer["loads_ns"] == [[7_000] * 3, [9_000] * 3]
    assert answer["firsts_ns"] == [[10_000_300] * 3, [20_000_500] * 3]


def test_loads_begin_with_each_file_in_turn(monkeypatch):
    machine = Machine(run_ns={"a": 100_000_000, "b": 100_000_000})
    measure(monkeypatch, machine)
    assert machine.log[:8] == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_no_timed_run_meets_the_caches_of_another_file(monkeypatch):
    """An inference behind another file's takes longer on this machine; none such is counted."""
    machine = Machine(run_ns={"a": 10_000_000, "b": 20_000_000, "c": 30_000_000})
    answer = measure(monkeypatch, machine, runs=4)
    assert answer["rounds_ns"] == [[[10_000_000], [20_000_000], [30_000_000]]] * 4


def test_each_round_begins_with_another_file(monkeypatch):
    machine = Machine(run_ns=dict.fromkeys("abc", 1_000_000))
    answer = measure(monkeypatch, machine, runs=60)
    assert answer["block_runs"] == 3
    # Each visit is an untimed run and three timed ones.
    log = machine.log[-20 * 3 * 4 :]
    visits = [log[start : start + 4] for start in range(0, len(log), 4)]
    assert all(len(set(visit)) == 1 for visit in visits)
    firsts = "".join(visit[0] for visit in visits)
    assert firsts[:12] == "abcbcacababc"
    assert len(answer["rounds_ns"]) == 20


@pytest.mark.parametrize(
    ("changes", "rounds"),
    [
        ({"runs": 7}, 7),
        # Two runs of 10 ms in each round.
        ({"runs": 1, "min_seconds": 0.99}, 50),
        ({"runs": 1000, "max_seconds": 0.05}, 3),
    ],
)
def test_how_long_rounds_go_on(monkeypatch, changes, rounds):
    answer = measure(monkeypatch, Machine(run_ns={"a": 10_000_000}), **changes)
    assert len(answer["rounds_ns"]) == rounds
    assert gc.isenabled()


def test_a_fast_file_does_not_run_for_ever(monkeypatch):
    monkeypatch.setattr(child, "WARMUP_SECONDS", 0)
    answer = measure(monkeypatch, Machine(run_ns={"a": 1_000}), runs=1, min_seconds=10)
    assert len(answer["rounds_ns"]) == child.MAX_EXTRA_ROUNDS


def test_warm_up_goes_on_until_the_time_is_over(monkeypatch):
    answer = measure(monkeypatch, Machine(run_ns={"a": 15_000_000, "b": 60_000_000}))
    a, b = answer["warmups_ns"]
    assert (len(a), len(b)) == (7, 3)
    # The first one belongs to a fresh load and not to a change of file.
    assert set(a) == {15_000_000}


def test_peak_is_the_fastest_product(monkeypatch):
    from ai_edge_litert import interpreter

    runs_ns = itertools.chain([9_000_000, 4_000_000, 2_000_000], itertools.repeat(5_000_000))
    machine = Machine(run_ns={})

    class Product:
        def __init__(self, model_content, num_threads):
            assert num_threads == 2

        def allocate_tensors(self):
            pass

        def get_input_details(self):
            return [{"index": 0, "shape": (2, 2), "dtype": np.float32}]

        def set_tensor(self, index, values):
            pass

        def invoke(self):
            machine.now_ns += next(runs_ns)

    monkeypatch.setattr(interpreter, "Interpreter", Product)
    monkeypatch.setattr(child, "time", machine)
    request = {"dtypes": ["float32"], "threads": 2, "seed": 0, "seconds": 0.1}
    answer = child.peak(request, Reporter(io.StringIO()))
    assert answer["macs_per_s"] == {"float32": pytest.approx(512**3 / 2e-3)}
