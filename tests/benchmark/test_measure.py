import dataclasses
import importlib
import json
import sys

import pytest

import tfcompress.benchmark
from tests.benchmark.flat import chain, grouped
from tfcompress.benchmark import measure as function
from tfcompress.benchmark import process, sizes
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.errors import InputError
from tfcompress.runtime.process import ProcessError
from tfcompress.tflite.content import read

# The package's name `measure` is the function.
module = importlib.import_module("tfcompress.benchmark.measure")


def test_the_room_is_the_door(tiny_file):
    (found,) = tfcompress.benchmark(tiny_file, runs=10, min_seconds=0)
    assert found.path == str(tiny_file)
    assert (found.backend, found.threads, found.ratio) == ("cpu", 1, 1.0)
    assert (found.outcome, found.reason) == ("ok", "")
    assert found.size_bytes == tiny_file.stat().st_size
    assert found.gzip_bytes == sizes.gzip_bytes(tiny_file)
    assert found.macs == 8 * 8 * 4 * 27 + 8 * 8 * 4 * 5
    assert found.weight_bytes == 4 * (4 * 27 + 4 + 8 * 8 * 4 * 5 + 2)
    assert found.activation_bytes == 4 * (2 * 8 * 8 * 4 + 5)
    assert found.input_bytes == 4 * 8 * 8 * 3
    assert found.latency_runs >= 10
    assert found.gmacs_per_s == pytest.approx(found.macs / found.latency_ms_p50 / 1e6)
    assert found.peak_share == pytest.approx(found.gmacs_per_s / found.peak_gmacs_per_s)
    if sys.platform.startswith("linux"):
        # Python with NumPy and the runtime takes tens of MiB, and a tiny file adds a few.
        assert 10 * 2**20 < found.baseline_memory_bytes < found.peak_memory_bytes < 500 * 2**20
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(values) == {field.name for field in dataclasses.fields(found)}
    # The package is still one.
    assert tfcompress.benchmark.sizes.size_bytes(tiny_file) == found.size_bytes


def test_backends_and_threads_in_order(tiny_file, monkeypatch):
    asked = []

    def ask(request, *, timeout_s):
        asked.append(request)
        count = len(request.get("paths", ()))
        answers = {
            "baseline": {"peak_memory_bytes": None},
            "probe": {"peak_memory_bytes": None, "signature": None, "because": "", "slow": ""},
            "peak": {"macs_per_s": {"float32": 2e9}},
            "latency": {
                "loads_ns": [[3, 1, 2]] * count,
                "firsts_ns": [[4]] * count,
                "warmups_ns": [[5, 7]] * count,
                "rounds_ns": [[[10_000 * (index + 1)] for index in range(count)]],
                "block_runs": 1,
            },
        }
        return answers[request["task"]], ""

    monkeypatch.setattr(process, "ask_with_log", ask)
    found = function(
        [tiny_file, str(tiny_file)], backends=["cpu", "cpu-noxnn"], threads=(1, 2), runs=1
    )
    order = [("cpu", 1), ("cpu", 2), ("cpu-noxnn", 1), ("cpu-noxnn", 2)]
    assert [(item.backend, item.threads) for item in found[::2]] == order
    assert [item.ratio for item in found] == [1.0, 2.0] * 4
    assert {(item.load_ms, item.first_ms) for item in found} == {(2e-6, 4e-6)}
    assert {(item.warmup_ms, item.warmup_runs) for item in found} == {(6e-6, 2)}
    assert {item.peak_memory_bytes for item in found} == {None}
    macs = 8 * 8 * 4 * 27 + 8 * 8 * 4 * 5
    assert found[0].gmacs_per_s == pytest.approx(macs / 1e-5 / 1e9)
    assert found[0].peak_share == pytest.approx(macs / 1e-5 / 2e9)
    timed = [request for request in asked if request["task"] == "latency"]
    assert [request["backend"]["kind"] for request in timed] == ["cpu"] * 2 + ["cpu-noxnn"] * 2
    assert [request["threads"] for request in timed] == [1, 2, 1, 2]


def test_warnings_stand_where_a_gpu_was_asked_for(tmp_path, monkeypatch):
    def ask(request, *, timeout_s):
        if request["task"] == "probe" and request["backend"]["kind"].startswith("gpu"):
            raise killed(request["paths"][0])
        return {
            "peak_memory_bytes": 5,
            "signature": None,
            "because": "",
            "slow": "",
            "macs_per_s": {},
            "loads_ns": [[1]],
            "firsts_ns": [[1]],
            "warmups_ns": [[1]],
            "rounds_ns": [[[1]]],
            "block_runs": 1,
        }, ""

    monkeypatch.setattr(process, "ask_with_log", ask)
    path = grouped(tmp_path / "m.tflite", 6)
    gpu, mixed, cpu = function(path, backends=["gpu", "gpu+cpu", "cpu"], runs=1, min_seconds=0)
    (warning,) = gpu.warnings
    assert "6 channels a group crashes the process" in warning
    assert (mixed.warnings, cpu.warnings) == (gpu.warnings, ())
    assert [file.outcome for file in (gpu, mixed, cpu)] == ["crashed", "crashed", "ok"]


@pytest.fixture
def files(tmp_path):
    return [chain(tmp_path / f"{name}.tflite", "NEG") for name in "abc"]


def killed(file):
    """An error of a process that was at work with the file, or with several."""
    last = {"stage": "timed runs", "file": str(file) if file else None}
    return BenchmarkError(
        ProcessError(last, "killed by SIGKILL", {"paths": ["x", "y"]}), ["x", "y"]
    )


@pytest.mark.parametrize("named", [True, False])
def test_a_killed_process_costs_the_others_nothing(files, monkeypatch, named):
    """The first file kills the process that times it; the others are timed without it."""
    honest = module.latency
    turns = []

    def latency(paths, **more):
        turns.append([path.stem for path in paths])
        if files[0] in paths:
            raise killed(files[0] if named or len(paths) == 1 else None)
        return honest(paths, **more)

    monkeypatch.setattr(module, "latency", latency)
    found = function(files, runs=1, min_seconds=0)
    assert [file.outcome for file in found] == ["crashed", "ok", "ok"]
    assert [file.timed for file in found] == [False, True, True]
    assert found[0].reason == "killed by SIGKILL"
    # No ratio to a first file that wasn't timed beside them.
    assert [file.ratio for file in found] == [None] * 3
    together = [["a", "b", "c"], ["b", "c"]]
    assert turns == (together if named else [["a", "b", "c"], ["a"], ["b"], ["c"]])


def test_a_file_that_does_not_run_on_the_cpu(tmp_path, tiny_file):
    """ADD of one input: the runtime refuses it."""
    bad = chain(tmp_path / "bad.tflite", "ADD")
    found = function([bad, tiny_file], runs=1, min_seconds=0)
    assert [file.outcome for file in found] == ["unsupported", "ok"]
    assert "RuntimeError" in found[0].reason
    assert found[0].macs == read(bad).macs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": []}, "at least one .tflite file"),
        ({"backends": []}, "needs a backend"),
        ({"backends": "tpu"}, "backend must be one of"),
        ({"threads": ()}, "number of threads"),
        ({"threads": [1, 0]}, "threads must be 1 or more; got 0"),
        ({"runs": 0}, "runs must be 1 or more"),
        ({"min_seconds": -1}, "min_seconds must be 0 or more"),
        ({"timeout_s": 0}, "timeout_s must be positive"),
    ],
)
def test_bad_arguments(tiny_file, monkeypatch, arguments, message):
    monkeypatch.setattr(process, "ask_with_log", lambda *_, **__: pytest.fail("asked a process"))
    with pytest.raises(InputError, match=message):
        function(**{"paths": [tiny_file], **arguments})


def test_bad_file_is_named_before_anything_runs(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "ask_with_log", lambda *_, **__: pytest.fail("asked a process"))
    text = tmp_path / "notes.txt"
    text.write_text("these are notes")
    with pytest.raises(InputError, match=r"notes\.txt is not a \.tflite file"):
        function([tiny_file, text])
