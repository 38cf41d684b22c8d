import json
import pathlib

import numpy as np
import pytest

from tests.report.conftest import BITS, COMPRESSED
from tfcompress.errors import InputError
from tfcompress.report.result import RunResult, strict

FILE_KEYS = {
    "accuracy",
    "accuracy_keras",
    "keras_agreement",
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


def test_an_entry_for_each_file_with_the_keys_of_compressed(run):
    values = run(files=[COMPRESSED, BITS]).to_json()
    assert list(values["files"]) == ["int8", "xnor"]
    first, second = values["files"].values()
    assert {key: first[key] for key in FILE_KEYS} == values["compressed"]
    assert first["ratio"] == values["ratio"]
    assert second["ratio"] == {"size": 2_000 / 36_000, "latency": 0.2, "parameters": 1, "macs": 0.5}
    assert second["accuracy_change_points"] == -0.6
    assert second["needs"] == "1-bit kernels"


def test_read_back_as_it_was(run):
    for result in (run(), run(files=[COMPRESSED, BITS]), run(files=[], unwritten={"int8": "why"})):
        values = json.loads(json.dumps(result.to_json()))
        assert RunResult.from_json(values).to_json() == values


def test_a_report_from_before_there_were_several_files_is_read(run):
    result = run(file_layer_errors={"conv_2": 0.01})
    values = result.to_json()
    old = {key: value for key, value in values.items() if key not in ("files", "unwritten")}
    assert RunResult.from_json(old).to_json() == {
        **values,
        "files": {"int8": {**values["files"]["int8"], "needs": ""}},
    }


def test_two_files_of_one_storage_are_refused(run):
    with pytest.raises(InputError, match="two files of one storage"):
        run(files=[COMPRESSED, COMPRESSED])


def test_ratios_are_compressed_divided_by_baseline(run):
    ratio = run().ratio
    assert ratio["size"] == 10_000 / 36_000
    assert ratio["parameters"] == 1.0
    assert ratio["macs"] == 0.5
    # Measured interleaved, and not 0.5 / 1.0.
    assert ratio["latency"] == 0.48


def test_what_was_not_measured_is_none_and_never_derived(run):
    result = run(
        file_latency_ratio=None,
        file_latency_ratio_p10=None,
        file_latency_ratio_p90=None,
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
        ({"file_latency_ratio": 0.0}, "latency_ratio must be positive"),
        ({"histories": {"fine_tuning": []}}, "histories are named"),
    ],
)
def test_impossible_numbers(run, changes, message):
    with pytest.raises(InputError, match=message):
        run(**changes)
