"""Op times, with a profiler and a clock that tests set."""

import pytest

from tests.benchmark.machine import Machine
from tfcompress.benchmark import profiler

REQUEST = {"backend": {"kind": "cpu"}, "threads": 1, "seed": 0, "runs": 4, "seconds": 0}


@pytest.fixture
def profiled(monkeypatch):
    """Returns what the profiler measures of ops that take so many microseconds, run by run."""

    def measure(ops_of_runs, request=REQUEST):
        # The unprofiled runs of "m", and between them profiled ones, which the clock doesn't see.
        machine = Machine(run_ns={"m": 40_000})
        left = list(ops_of_runs)

        class Profiled:
            def __init__(self, path, *, threads, xnnpack):
                assert (path, threads, xnnpack) == ("m", 1, True)

            def run(self):
                machine.last = "the profiled model"

            def timed_ops(self):
                assert machine.last is not None
                machine.last = "the profiled model"
                return left.pop(0) if len(left) > 1 else left[0]

        monkeypatch.setattr(profiler, "time", machine)
        monkeypatch.setattr(profiler, "ProfiledModel", Profiled)
        monkeypatch.setattr(
            profiler, "load", lambda path, backend, *, threads: machine.load(path, {})
        )
        return profiler.op_times("m", request)

    return measure


def test_times_of_ops_and_of_whole_runs(profiled):
    warm_ups = [[("A", 99), ("B", 99)]] * 4
    answer = profiled([*warm_ups, *([("A", n), ("B", 2 * n)] for n in range(1, 5))])
    assert answer["names"] == ["A", "B"]
    assert answer["elapsed_us"] == [[1, 2], [2, 4], [3, 6], [4, 8]]
    # Without what a run behind the profiled model's takes longer.
    assert answer["plain_us"] == [40.0] * 4


def test_runs_of_other_ops_are_left_out(profiled):
    answer = profiled([[("A", 1)]] * 5 + [[("A", 1), ("X", 5)]] + [[("A", 3)]])
    assert answer["elapsed_us"] == [[1], [3], [3]]
    assert len(answer["plain_us"]) == 4


def test_runs_go_on_for_as_long_as_asked(profiled):
    # 80 us of unprofiled runs each time, and 500 us of cold caches.
    answer = profiled([[("A", 1)]], {**REQUEST, "seconds": 0.0058})
    assert len(answer["plain_us"]) == 10
