import json
import subprocess
import sys

import pytest

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
