import dataclasses
import json
import subprocess
import sys

import pytest

from tfcompress.benchmark import FileBenchmark
from tfcompress.benchmark import measure as function
from tfcompress.benchmark.litert_json import litert_keys


def test_keys_are_those_of_the_runtimes_own_tool(tiny_file, tmp_path):
    target = tmp_path / "theirs.json"
    words = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model"]
    words += [f"--model={tiny_file}", "--num_runs=3", f"--result_json={target}"]
    subprocess.run(words, check=True, capture_output=True)
    theirs = json.loads(target.read_text())
    (file,) = function(tiny_file, runs=20, min_seconds=0)
    ours = litert_keys(file)
    assert set(ours) == set(theirs)
    assert set(ours["latency"]) == set(theirs["latency"])
    for key in ("model", "model_size_mb", "accelerators", "fully_accelerated", "num_threads"):
        assert ours[key] == theirs[key], key
    times = ours["latency"]
    assert times["min_ms"] <= times["p5_ms"] <= times["median_ms"] <= times["p95_ms"]
    assert times["p95_ms"] <= times["max_ms"]
    # 8x8x3 floats in the mean time
    megabytes = ours["throughput_mb_s"] * times["avg_ms"] / 1e3
    assert megabytes * 2**20 == pytest.approx(8 * 8 * 3 * 4)


def test_numbers_in_its_units():
    file = FileBenchmark(
        path="m.tflite",
        backend="gpu",
        kind="gpu",
        threads=2,
        size_bytes=5_000_000,
        gzip_bytes=1,
        macs=1,
        input_bytes=3_000_000,
        load_ms=1.0,
        first_ms=2.0,
        warmup_ms=3.0,
        warmup_runs=4,
        latency_ms_mean=5.0,
        latency_ms_min=6.0,
        latency_ms_max=7.0,
        latency_ms_p50=8.0,
        latency_ms_std=9.0,
        latency_ms_p5=10.0,
        latency_ms_p95=11.0,
        latency_runs=12,
        cpu_ops=1,
    )
    keys = litert_keys(file)
    assert keys["model_size_mb"] == 4.77
    assert keys["throughput_mb_s"] == pytest.approx(3_000_000 / 2**20 / 0.005)
    assert list(keys["latency"].values()) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert (keys["accelerators"], keys["fully_accelerated"]) == (["GPU"], False)
    assert litert_keys(dataclasses.replace(file, cpu_ops=0))["fully_accelerated"]
