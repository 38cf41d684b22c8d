"""What another machine's benchmark wrote becomes a column of tflite_models/'s page."""

import json

import pytest
import zoo
import zoo_speed
from measurements import Measurements

MACHINE = {
    "cpu": "AMD EPYC 7B13",
    "features": ["AVX2"],
    "int8_dot_product": False,
    "cores": 2,
    "cores_total": 2,
    "commit": "0123456789ab",
    "python": "3.11.7",
    "ai_edge_litert": "2.3.0",
}


def entry(name, ratio, *, backend="cpu", signature=None, threads=1, runs=400, file="compressed"):
    return {
        "path": f"elsewhere/tflite_models/{name}/{file}.tflite",
        "kind": "cpu",
        "backend": backend,
        "threads": threads,
        "signature": signature,
        "outcome": "ok" if runs else "unsupported",
        "reason": "",
        "latency_ms_p50": ratio / 2,
        "latency_runs": runs,
        "ratio": ratio,
        "ratio_p10": ratio,
        "ratio_p90": ratio,
    }


def run(monkeypatch, tmp_path, files):
    """Brings the benchmark's JSON into the class's folder; returns the rows of that folder."""
    (tmp_path / "speed.json").write_text(
        json.dumps({"created": "2026-11-21T12:00:00+0000", "machine": MACHINE, "files": files})
    )
    words = [f"--output={tmp_path / 'avx2'}", f"--from_json={tmp_path / 'speed.json'}"]
    monkeypatch.setattr("sys.argv", ["experiments/zoo_speed.py", *words])
    zoo_speed.main()
    return Measurements(tmp_path / "avx2")


def test_a_column_for_another_class(monkeypatch, tmp_path):
    default = "cpu?signature=serving_default"
    files = [
        entry("fashion_float", 1.0, backend=default),
        entry("fashion_xnor_int8", 0.9, backend=default, signature="serving_default"),
        entry("fashion_int8", 0.95, backend=default),
        entry("fashion_float", 1.0),
        entry("fashion_xnor_int8", 0.25, signature="xnor"),
        entry("fashion_int8", 0.96),
        entry("fashion_int8", 0.5, threads=2),
        entry("fashion_qat", 0.0, runs=0),
    ]
    kept = run(monkeypatch, tmp_path, files)
    assert list(kept.rows) == [
        *("fashion_float", "fashion_xnor_int8", "fashion_int8", "fashion_xnor_int8, 1-bit kernels")
    ]
    (record,) = kept.records(kept.rows)
    assert (record["cpu"], record["date"]) == ("AMD EPYC 7B13", "2026-11-21")
    assert str(tmp_path) not in record["command"].replace(f"--output={tmp_path / 'avx2'}", "")
    assert "0.95 (0.95 to 0.95)" in (tmp_path / "avx2" / "README.md").read_text()

    row = {"accuracy": 0.9, "size_bytes": 1, "gzip_bytes": 1, "packed_bytes": 1, "ratio": 0.3}
    results = Measurements(tmp_path)
    more = {"latency_ms_p50": 1.0, "runs_on": "LiteRT 1.0"}
    for name in ("fashion_int8", "fashion_qat", "fashion_xnor_int8"):
        results.put(name, row | more, record)
    page = zoo.page_of(results)
    place = page.headers.index("of float's, AVX2")
    assert [cells[place] for cells, _ in page.rows] == ["0.95", "-", "0.90 (0.25 1-bit kernels)"]
    assert "AMD EPYC 7B13 (AVX2), 2 cores, commit 0123456789ab" in page.note


def test_ratios_must_be_to_the_float_file(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, tmp_path, [entry("fashion_bwn_1bit", 1.0), entry("fashion_float", 0.7)])
    assert ended.value.code == 2
    assert "give it as the first file" in capsys.readouterr().err
    assert not (tmp_path / "avx2").exists()


def test_files_are_timed_beside_the_float_one(tmp_path):
    for name in ("fashion_bwn_1bit", "fashion_float"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "compressed.tflite").touch()
    files = zoo_speed.files_of(tmp_path)
    assert [path.parent.name for path in files] == ["fashion_float", "fashion_bwn_1bit"]
