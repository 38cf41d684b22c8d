import json
import subprocess
import sys

import pytest

from tfcompress.benchmark import __main__ as command


def run(*arguments):
    return command.main(["benchmark", *map(str, arguments)])


def test_table_and_json(tiny_file, tmp_path, capsys):
    target = tmp_path / "numbers.json"
    assert run(tiny_file, tiny_file, "--runs=20", f"--json={target}") == 0
    output = capsys.readouterr().out
    assert output.count("tiny.tflite") == 2
    assert "first file's" in output
    assert "a phone's times are others" in output
    content = json.loads(target.read_text())
    assert [item["path"] for item in content["files"]] == [str(tiny_file)] * 2
    assert content["machine"]["ai_edge_litert"]
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one .tflite file"),
        (["absent.tflite"], "absent.tflite: no such file"),
        (["m.tflite", "--rnus=3"], "Unknown command line flag 'rnus'"),
        (["m.tflite", "--runs=many"], "--runs=many"),
        (["m.tflite", "--runs"], "runs"),
        (["m.tflite", "--backends=gpu"], "supported: cpu, cpu-noxnn"),
        (["m.tflite", "--threads=two"], "--threads takes whole numbers"),
        (["m.tflite", "--json=/no/such/folder/x.json"], "doesn't exist"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, message, capsys):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_a_file_that_cannot_be_measured_is_status_1(tiny_file, monkeypatch, capsys):
    crash = [sys.executable, "-c", "import os; os.abort()"]
    monkeypatch.setattr("tfcompress.benchmark.process.command", lambda: crash)
    assert run(tiny_file) == 1
    assert "SIGABRT" in capsys.readouterr().err


def test_help_teaches(capsys):
    assert run("--help") == 0
    output = capsys.readouterr().out
    for word in ("baseline.tflite", "--backends", "--threads", "--runs", "--json", "Exit status"):
        assert word in output


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "tfcompress.benchmark", "--nonsense"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: Unknown command line flag 'nonsense'")
    assert done.stderr.count("\n") == 1
