"""The process that files run in, with a clock and a system that tests set."""

import io
import sys
import types

import pytest

from tfcompress.runtime import child
from tfcompress.runtime.child import Reporter, measure_memory, peak_memory_bytes


class Clock:
    """Stands still but for what takes time by its own account."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        return self.now_s


class Interpreter:
    """Runs in no time, on one float."""

    def get_input_details(self):
        return [{"index": 0, "shape": (1,), "dtype": "float32"}]

    def set_tensor(self, index, value):
        assert value.shape == (1,)

    def invoke(self):
        pass


@pytest.fixture
def loads(monkeypatch):
    """Puts interpreters in place whose loads take so many milliseconds, one after the other."""
    clock, left_ms = Clock(), []

    def load(path, request):
        assert path == "m.tflite"
        clock.now_s += left_ms.pop(0) / 1e3
        return Interpreter()

    monkeypatch.setattr(child, "time", clock)
    monkeypatch.setattr(child, "load_interpreter", load)
    return left_ms


def ask(**changes):
    request = {"paths": ["m.tflite"], "threads": 1, "xnnpack": True, "seed": 0, "loads": 3}
    return measure_memory({**request, **changes}, Reporter(io.StringIO()))


def test_load_time_is_the_median_of_the_loads_behind_the_first(loads):
    loads += [500.0, 4.0, 1.0, 2.0]
    assert ask()["load_ms"] == pytest.approx(2.0)
    assert loads == []


def test_without_loads_there_is_no_load_time(loads):
    loads += [500.0]
    assert ask(loads=0)["load_ms"] is None
    assert ask(paths=[])["load_ms"] is None


def test_the_peak_is_taken_before_the_further_loads(loads, monkeypatch):
    loads += [1.0] * 4
    monkeypatch.setattr(child, "peak_memory_bytes", lambda: len(loads))
    assert ask()["peak_memory_bytes"] == 3


def test_peak_memory_is_linuxs_high_water_mark_in_bytes(monkeypatch):
    status = "Name:\tpython\nVmPeak:\t  999999 kB\nVmHWM:\t   43210 kB\nVmRSS:\t   40000 kB\n"
    monkeypatch.setattr(child.sys, "platform", "linux")
    monkeypatch.setattr(child, "open", lambda *_, **__: io.StringIO(status), raising=False)
    assert peak_memory_bytes() == 43210 * 1024


def test_what_the_system_does_not_say_is_none(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(child.sys, "platform", "linux")
    monkeypatch.setattr(child, "open", absent, raising=False)
    assert peak_memory_bytes() is None
    monkeypatch.setattr(child, "open", lambda *_, **__: io.StringIO("Name:\tx\n"), raising=False)
    assert peak_memory_bytes() is None
    monkeypatch.setattr(child.sys, "platform", "win32")
    assert peak_memory_bytes() is None


@pytest.mark.parametrize(("hard_limit", "bound"), [(-1, 5_000), (7_000, 5_000), (3_000, 3_000)])
def test_files_are_checked_in_bounded_memory(monkeypatch, hard_limit, bound):
    limits = []
    system = types.SimpleNamespace(
        RLIMIT_AS="address space",
        RLIM_INFINITY=-1,
        getrlimit=lambda which: (-1, hard_limit),
        setrlimit=lambda which, values: limits.append((which, values)),
    )
    monkeypatch.setitem(sys.modules, "resource", system)

    def load(path, request):
        assert limits == [("address space", (bound, hard_limit))]
        return Interpreter()

    monkeypatch.setattr(child, "load_interpreter", load)
    request = {"paths": ["m.tflite"], "memory_bytes": 5e3}
    assert child.check(request, Reporter(io.StringIO()))["errors"] == [None]
    assert len(limits) == 1


def test_an_error_of_one_file_leaves_the_others(loads, monkeypatch):
    monkeypatch.setattr(child, "limit_memory", lambda memory_bytes: None)

    def load(path, request):
        if path == "bad":
            raise RuntimeError("no such\n  op")
        return Interpreter()

    monkeypatch.setattr(child, "load_interpreter", load)
    request = {"paths": ["a", "bad", "b"], "memory_bytes": 1}
    answer = child.check(request, Reporter(io.StringIO()))
    assert answer["errors"] == [None, "RuntimeError: no such op", None]
    assert answer["peak_memory_bytes"] == child.peak_memory_bytes()


def test_an_error_is_one_line_of_bounded_length():
    """A name in the file may be as long as the file."""
    line = child.one_line(RuntimeError("no op\n" + 10**6 * "x"))
    assert line.startswith("RuntimeError: no op xxx")
    assert len(line) == 1000
