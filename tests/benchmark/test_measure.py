import dataclasses
import json
import sys

import pytest

import tfcompress.benchmark
from tfcompress.benchmark import measure as function
from tfcompress.benchmark import process, sizes
from tfcompress.config import InputError


def test_the_room_is_the_door(tiny_file):
    (found,) = tfcompress.benchmark(tiny_file, runs=10)
    assert found.path == str(tiny_file)
    assert (found.backend, found.threads, found.ratio) == ("cpu", 1, 1.0)
    assert found.size_bytes == tiny_file.stat().st_size
    assert found.gzip_bytes == sizes.gzip_bytes(tiny_file)
    assert found.macs == 8 * 8 * 4 * 27 + 8 * 8 * 4 * 5
    assert found.latency_runs >= 10
    if sys.platform.startswith("linux"):
        assert found.peak_memory_bytes > found.baseline_memory_bytes > 0
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(values) == {field.name for field in dataclasses.fields(found)}
    # The package is still one.
    assert tfcompress.benchmark.sizes.size_bytes(tiny_file) == found.size_bytes


def test_backends_and_threads_in_order(tiny_file, monkeypatch):
    asked = []

    def ask(request, *, timeout_s):
        asked.append(request)
        if request["task"] == "memory":
            return {"peak_memory_bytes": None}
        count = len(request["paths"])
        return {
            "loads_ns": [[3, 1, 2]] * count,
            "firsts_ns": [[4]] * count,
            "rounds_ns": [[[10 * (index + 1)] for index in range(count)]],
            "block_runs": 1,
        }

    monkeypatch.setattr(process, "ask", ask)
    found = function(
        [tiny_file, str(tiny_file)], backends=["cpu", "cpu-noxnn"], threads=(1, 2), runs=1
    )
    order = [("cpu", 1), ("cpu", 2), ("cpu-noxnn", 1), ("cpu-noxnn", 2)]
    assert [(item.backend, item.threads) for item in found[::2]] == order
    assert [item.ratio for item in found] == [1.0, 2.0] * 4
    assert {(item.load_ms, item.first_ms) for item in found} == {(2e-6, 4e-6)}
    assert {item.peak_memory_bytes for item in found} == {None}
    timed = [request for request in asked if request["task"] == "latency"]
    assert [request["xnnpack"] for request in timed] == [True, True, False, False]
    assert [request["threads"] for request in timed] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": []}, "at least one .tflite file"),
        ({"backends": []}, "needs a backend"),
        ({"backends": "gpu"}, "not supported yet"),
        ({"threads": ()}, "number of threads"),
        ({"runs": 0}, "runs must be 1 or more"),
    ],
)
def test_bad_arguments(tiny_file, arguments, message):
    with pytest.raises(InputError, match=message):
        function(**{"paths": [tiny_file], **arguments})


def test_bad_file_is_named_before_anything_runs(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "ask", lambda *_, **__: pytest.fail("asked a process"))
    text = tmp_path / "notes.txt"
    text.write_text("these are notes")
    with pytest.raises(InputError, match=r"notes\.txt is not a \.tflite file"):
        function([tiny_file, text])
