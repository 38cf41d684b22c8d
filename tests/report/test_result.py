import json
import pathlib

import numpy as np
import pytest

from tfcompress.errors import InputError
from tfcompress.report.result import strict

FILE_KEYS = {
    "accuracy",
    "accuracy_keras",
    "parameters",
    "macs",
    "size_bytes",
    "gzip_bytes",
    "packed_bytes",
    "latency_ms_p50",
    "latency_ms_p90",
    "latency_runs",
    "peak_memory_bytes",
    "train_step_ms",
    "path",
    "storage",
    "parity_max_abs_diff",
    "parity_ties",
}


def test_keys_that_others_rely_on(run):
    values = run().to_json()
    assert {"technique", "model", "dataset", "seed", "versions"} <= set(values)
    assert set(values["baseline"]) == set(values["compressed"]) == FILE_KEYS
    assert set(values["ratio"]) == {"size", "latency", "parameters", "macs"}
    assert values["compressed"]["parity_max_abs_diff"] == 2e-6
    assert values["accuracy_change_points"] == -0.6


def test_ratios_are_compressed_divided_by_baseline(run):
    ratio = run().ratio
    assert ratio["size"] == 10_000 / 36_000
    assert ratio["parameters"] == 1.0
    assert ratio["macs"] == 0.5
    # Measured interleaved, and not 0.5 / 1.0.
    assert ratio["latency"] == 0.48


def test_what_was_not_measured_is_none_and_never_derived(run):
    result = run(
        latency_ratio=None,
        latency_ratio_p10=None,
        latency_ratio_p90=None,
        file_macs=None,
        file_peak_memory_bytes=None,
        file_parity={},
    )
    values = result.to_json()
    assert values["ratio"]["latency"] is None
    assert values["ratio"]["macs"] is None
    assert values["compressed"]["peak_memory_bytes"] is None
    assert values["compressed"]["parity_max_abs_diff"] is None


def test_json_is_strict(run):
    history = {"compressed": [{"epoch": 1, "loss": float("nan"), "test_error": np.float32("inf")}]}
    result = run(
        histories=history,
        config={"path": pathlib.Path("a/b"), "shape": (1, 2), "count": np.int64(3)},
        file_parity={"max_abs_diff": float("nan"), "ok": np.bool_(True)},
    )
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert values["histories"]["compressed"] == [{"epoch": 1, "loss": None, "test_error": None}]
    assert values["config"] == {"path": str(pathlib.Path("a/b")), "shape": [1, 2], "count": 3}
    assert values["compressed"]["parity_max_abs_diff"] is None
    assert values["compressed"]["parity_ok"] is True


def test_strict_keeps_what_json_has():
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": {}}}
    assert strict(value) == value
    assert strict(np.arange(3)) == [0, 1, 2]
    assert strict({1: 2}) == {"1": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file_accuracy": 90.85}, r"accuracy must be in 0\.\.1; got 90.85"),
        ({"file_accuracy": float("nan")}, "accuracy must be in"),
        ({"file_size_bytes": 0}, "size_bytes must be positive"),
        ({"file_macs": -1}, "macs must be 0 or more"),
        ({"file_latency_ms_p50": float("inf")}, "latency_ms_p50 must be a time"),
        ({"latency_ratio": 0.0}, "latency_ratio must be positive"),
        ({"histories": {"fine_tuning": []}}, "histories are named"),
    ],
)
def test_impossible_numbers(run, changes, message):
    with pytest.raises(InputError, match=message):
        run(**changes)
