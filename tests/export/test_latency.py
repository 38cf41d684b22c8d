"""Files are timed in turns; what else a machine does leaves no trace in the result."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfcompress.export import latency


class Clock:
    """Stands for the time, which runs as interpreters say."""

    now = 0.0

    def perf_counter(self):
        return self.now


class Interpreter:
    """Takes a time for each run, and now and then that of another program as well."""

    def __init__(self, clock, seconds, disturbed):
        self.clock, self.seconds, self.disturbed, self.runs = clock, seconds, disturbed, 0

    def get_input_details(self):
        return [{"index": 0, "shape": np.array([1]), "dtype": np.float32}]

    def set_tensor(self, index, value):
        assert value.shape == (1,)

    def invoke(self):
        self.clock.now += self.seconds + (0.03 if self.disturbed(self.runs) else 0)
        self.runs += 1


@pytest.mark.parametrize(
    "disturbed",
    [
        pytest.param((lambda run: False, lambda run: run == 0), id="warming-up"),
        pytest.param((lambda run: run % 3, lambda run: (run + 1) % 3), id="most-runs"),
    ],
)
def test_the_least_time_counts(disturbed, monkeypatch):
    clock = Clock()
    files = {
        name: Interpreter(clock, seconds, often)
        for name, seconds, often in zip("ab", (0.002, 0.001), disturbed, strict=True)
    }
    monkeypatch.setattr(latency, "time", clock)
    monkeypatch.setattr(
        latency, "open_file", lambda path, **_: SimpleNamespace(interpreter=files[path])
    )
    assert latency.seconds_in_turns(["a", "b"]) == pytest.approx([0.002, 0.001])
