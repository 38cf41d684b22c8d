import sys

import pytest

from tfcompress.benchmark import memory, process
from tfcompress.benchmark.memory import Memory
from tfcompress.config import InputError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_real_file(tiny_file):
    found = memory.memory(tiny_file)
    # Python with NumPy and the runtime takes tens of MiB, and a tiny file adds a few.
    assert 10 * 2**20 < found.baseline_memory_bytes < found.peak_memory_bytes < 500 * 2**20
    assert found.model_memory_bytes == found.peak_memory_bytes - found.baseline_memory_bytes


def test_a_baseline_is_not_taken_twice(monkeypatch):
    asked = []

    def ask(request, *, timeout_s):
        asked.append(request["paths"])
        return {"peak_memory_bytes": 900}

    monkeypatch.setattr(process, "ask", ask)
    assert memory.memory("/m.tflite", baseline_memory_bytes=700).model_memory_bytes == 200
    assert asked == [["/m.tflite"]]
    assert memory.memory("/m.tflite").model_memory_bytes == 0
    assert asked[1:] == [[], ["/m.tflite"]]


def test_what_the_system_does_not_say_is_none():
    assert Memory(peak_memory_bytes=None, baseline_memory_bytes=5).model_memory_bytes is None
    assert Memory(peak_memory_bytes=5, baseline_memory_bytes=None).model_memory_bytes is None


def test_unknown_backend():
    with pytest.raises(InputError, match="backend must be one of"):
        memory.memory("m.tflite", backend="tpu")
