"""Runs of the command as rows: each says when and where its report was made, not today's date."""

import json

import pytest
import techniques

REPORT = {
    "created": "2026-01-01T10:00:00+00:00",
    "machine": {"cpu": "CPU", "cores": 2, "features": ["AVX2"], "commit": "abc", "python": "3.11"},
    "versions": {"keras": "3.0.0"},
    "command": "run --model=FOLDER/xnor_0/baseline.keras",
    "histories": {"baseline": []},
}


ENTRY = {"ratio": {}, "accuracy_change_points": 0.0}


@pytest.fixture
def commands(monkeypatch):
    """Puts a report where the command would; returns the commands' words."""
    called = []

    def run(words, check):
        called.append(words)
        (folder,) = (word.split("=", 1)[1] for word in words if word.startswith("--output_dir="))
        path = techniques.Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / "report.json").write_text(
            json.dumps(REPORT).replace("FOLDER", str(path.parents[1]))
        )

    monkeypatch.setattr(techniques.subprocess, "run", run)
    return called


def test_a_row_is_its_report_with_its_own_date_and_machine(commands, tmp_path):
    (keys, measure), *_ = techniques.steps_of("binary", tmp_path / "binary", 3, False)
    assert keys == ("xnor, seed 0",)
    row = measure()["xnor, seed 0"]
    assert row["command"] == "run --model=DIR/xnor_0/baseline.keras"
    assert "histories" not in row
    made = row["made"]
    assert made.pop("command").startswith(".venv/bin/python")
    assert made == {
        "date": "2026-01-01",
        "cpu": "CPU",
        "features": ["AVX2"],
        "cores": 2,
        "commit": "abc",
        "versions": {"keras": "3.0.0"},
    }


def test_a_run_that_is_there_is_named_and_made_anew_when_asked(commands, tmp_path, capsys):
    folder = tmp_path / "xnor_0"
    techniques.run(folder, False, "--technique=xnor")
    assert capsys.readouterr().out == ""
    techniques.run(folder, False, "--technique=xnor")
    assert "holds a finished run, which isn't made again" in capsys.readouterr().out
    techniques.run(folder, True, "--technique=xnor")
    assert "is begun anew" in capsys.readouterr().out
    assert ["--noresume" in words for words in commands] == [False, False, True]


def test_techniques_share_the_first_ones_baseline(commands, tmp_path):
    work = tmp_path / "quantised"
    ((keys, measure),) = techniques.steps_of("quantised", work, 1, False, ["qat"])
    assert keys == ("qat, seed 0",)
    measure()
    # There was none: the first technique's run makes it.
    assert "--technique=int8" in commands[0]
    assert not any("--model" in word for word in commands[0])
    assert f"--model={work / 'int8_0' / 'baseline.keras'}" in commands[1]


def test_a_run_of_two_files_makes_a_row_of_each(commands, tmp_path, monkeypatch):
    entries = {
        name: {"accuracy": value, "ratio": {"size": value}, "accuracy_change_points": -value}
        for name, value in (("float32", 0.5), ("int8", 0.25))
    }
    monkeypatch.setitem(
        REPORT, "files", {name: {**row, "layers": []} for name, row in entries.items()}
    )
    _, (keys, measure), *_ = techniques.steps_of("vgg16", tmp_path / "vgg16", 1, False)
    assert keys == ("channels, size_ratio=0.36, seed 0", "channels, size_ratio=0.36, int8, seed 0")
    made = measure()
    assert tuple(made) == keys
    assert [made[key]["accuracy_change_points"] for key in keys] == [-0.5, -0.25]
    assert [made[key]["compressed"] for key in keys] == list(entries.values())
    assert keys[1].rpartition(", seed ")[0] in techniques.rows_of("vgg16")


def test_the_first_techniques_baseline_is_found_where_its_run_put_it(
    commands, tmp_path, monkeypatch
):
    work = tmp_path / "vgg16"
    base = work / "int8_0" / "baseline.keras"
    base.parent.mkdir(parents=True)
    base.touch()
    second = techniques.steps_of("vgg16", work, 1, False)[1]
    monkeypatch.setitem(REPORT, "files", dict.fromkeys("ab", ENTRY))
    second[1]()
    assert f"--model={base}" in commands[0]
    assert len(commands) == 1
