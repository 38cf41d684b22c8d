"""Conformance: what counts as drift, which cells there are, and that a cell's bytes are its own."""

import collections

import conformance
import conformance_models
import numpy as np
import pytest
from measurements import Measurements

from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.export import storages

kept = Measurements(conformance.COMMITTED)
WORKS = {
    "outcome": "works",
    "agreement": 99.0,
    "accuracy": 90.0,
    "size_bytes": 10_000,
    "oldest_runtime": "TensorFlow Lite 2.10.0",
}


def drifts(**changes):
    return conformance.drifts({"a, b, c": WORKS}, {"a, b, c": {**WORKS, **changes}})


def test_small_changes_are_no_drift():
    assert drifts() == []
    assert drifts(agreement=98.8, accuracy=90.2, size_bytes=10_100, ops=3) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"agreement": 98.79}, "a, b, c: agreement 98.79%, was 99.00%"),
        ({"accuracy": 90.3}, "a, b, c: accuracy 90.30%, was 90.00%"),
        ({"size_bytes": 10_101}, "a, b, c: 10,101 bytes, was 10,000 (+1.0%)"),
        ({"size_bytes": 9_000}, "a, b, c: 9,000 bytes, was 10,000 (-10.0%)"),
        ({"oldest_runtime": "2.18"}, "a, b, c: oldest runtime 2.18, was TensorFlow Lite 2.10.0"),
        ({"outcome": "refused", "text": "no"}, "a, b, c: refused (no), was works"),
        ({"outcome": "crash", "text": "ended with -11"}, "a, b, c: crash: ended with -11"),
    ],
)
def test_a_drift_is_told_by_its_cells_name(changes, text, capsys, tmp_path):
    assert drifts(**changes) == [text]
    assert conformance.verdict([text], tmp_path) == 1
    assert capsys.readouterr().err == f"drift: {text}\n"


def test_without_drift_the_status_is_0(tmp_path):
    assert conformance.verdict([], tmp_path) == 0


def test_a_crash_fails_though_nothing_is_committed():
    crash = {"outcome": "traceback", "text": "ValueError: x (f)"}
    assert conformance.drifts({}, {"a, b, c": crash}) == ["a, b, c: traceback: ValueError: x (f)"]
    assert conformance.drifts({}, {"a, b, c": WORKS}) == []


def test_the_cells():
    """At least 12 networks, 15 techniques and 6 storages, and the two kinds everywhere."""
    assert set(conformance.NETWORKS) == set(conformance_models.NETWORKS)
    assert set(conformance.TECHNIQUES) <= set(techniques.names())
    plan = conformance.planned("")
    by_network = collections.Counter(network for network, _ in plan)
    assert set(by_network) == set(conformance.NETWORKS)
    assert sum(count >= 15 for count in by_network.values()) >= 12
    for network, technique in plan:
        assert {"float32", "int8"} <= set(conformance.storages_of(network, technique))
    every = conformance.storages_of(conformance.NETWORKS[0], "baseline")
    assert set(every) == set(storages.names()) - {"lce"}
    assert conformance.planned("nin,cp") == [("nin", "cp")]
    with pytest.raises(InputError, match=r"got nim$"):
        conformance.planned("nim,cp")


def test_figures():
    """By hand: 2 of 4 labels are Keras's, 3 are right; of values 1% of the power is noise."""
    scores = np.eye(3)[[0, 1, 2, 0]]
    got = np.eye(3)[[0, 1, 1, 1]]
    row = conformance.compared(scores, got, np.array([0, 1, 1, 0]), classes=True)
    assert (row["agreement"], row["accuracy"]) == (50.0, 75.0)
    values = np.full((5, 2), 10.0)
    row = conformance.compared(values, values + 1, values + 1, classes=False)
    assert row == {"agreement": 99.0, "accuracy": 100.0, "sqnr_db": 20.0}
    assert conformance.compared(values, values, values, classes=False)["sqnr_db"] is None


def test_rows_of_other_versions_are_stale(tmp_path, monkeypatch):
    here = {"versions": {"keras": "3"}, "commit": "abc"}
    monkeypatch.setattr(conformance, "made_here", lambda: here)
    results = Measurements(tmp_path)
    results.put("new", WORKS, here)
    results.put("old", WORKS, {**here, "versions": {"keras": "2"}})
    results.put("other sources", WORKS, {**here, "commit": "def"})
    assert conformance.stale(results) == ["old", "other sources"]
    monkeypatch.setattr(conformance, "COMMITTED", tmp_path.resolve())
    assert conformance.stale(results) == ["old"]
    results.drop(["old"])
    assert set(Measurements(tmp_path).rows) == {"new", "other sources"}


def test_a_cell_gives_the_same_bytes_again(tmp_path):
    """Whatever was measured before it; and a refusal is a row."""
    cells = conformance.Cells("mlp", tmp_path)
    first = cells.measured("svd", ["dynamic", "sparse"])
    again = cells.measured("svd", ["dynamic"])["dynamic"]
    assert first["dynamic"]["outcome"] == "works"
    assert first["dynamic"]["sha256"] == again["sha256"]
    assert first["sparse"]["outcome"] == "refused"
    assert "storage sparse finds no layer" in first["sparse"]["text"]


def test_what_is_committed_crashed_nowhere():
    assert {row["outcome"] for row in kept.rows.values()} <= {"works", "refused"}


def test_an_error_is_a_row():
    try:
        raise ValueError("one\ntwo")
    except ValueError as error:
        row = conformance.ended_by(error)
    assert row["outcome"] == "traceback"
    assert row["text"].startswith("ValueError: one")
