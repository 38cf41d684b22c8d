import errno
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.printed import assert_one_error_line
from tfcompress.benchmark import __main__ as command
from tfcompress.benchmark import matmul


def run(*arguments):
    return command.main(["benchmark", *map(str, arguments)])


def test_table_and_json(tiny_file, tmp_path, capsys):
    target = tmp_path / "numbers.json"
    assert run(tiny_file, tiny_file, "--runs=20", "--min_seconds=0", f"--json={target}") == 0
    output = capsys.readouterr().out
    # The file's sizes once, its times twice.
    assert output.count("tiny.tflite") == 3
    assert "first file's" in output
    assert "a phone's times are others" in output
    content = json.loads(target.read_text())
    assert [item["path"] for item in content["files"]] == [str(tiny_file)] * 2
    assert content["machine"]["ai_edge_litert"]
    assert content["created"][:4].isdecimal()
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one .tflite file"),
        (["absent.tflite"], "absent.tflite: no such file"),
        (["m.tflite", "--rnus=3"], "Unknown command line flag 'rnus'"),
        (["m.tflite", "--runs=many"], "--runs=many"),
        (["m.tflite", "--runs"], "runs"),
        (["m.tflite", "--backends=tpu"], "backend must be one of cpu, cpu-noxnn, gpu"),
        (["m.tflite", "--timeout=0"], "timeout_s must be positive"),
        (["m.tflite", "--threads=two"], "--threads takes whole numbers"),
        (["m.tflite", "--json=/no/such/folder/x.json"], "doesn't exist"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, message, capsys):
    assert run(*arguments) == 2
    assert_one_error_line(capsys.readouterr(), message)


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


def test_failures_are_in_the_table_and_in_the_status(tiny_file, no_gpu, tmp_path, capsys):
    target = tmp_path / "numbers.json"
    arguments = ("--backends=gpu,cpu", "--runs=5", "--min_seconds=0", f"--json={target}")
    assert run(tiny_file, *arguments) == 1
    output = capsys.readouterr().out
    assert "tiny.tflite on gpu x1: no-adapter: LiteRT's GPU accelerator needs a GPU" in output
    gpu, cpu = json.loads(target.read_text())["files"]
    assert (gpu["outcome"], gpu["latency_ms_p50"], gpu["latency"]["median_ms"]) == (
        "no-adapter",
        None,
        None,
    )
    assert cpu["latency"]["median_ms"] == cpu["latency_ms_p50"] > 0
    assert cpu["model"] == cpu["path"] == str(tiny_file)


def test_ops(tiny_file, capsys):
    assert run(tiny_file, "--backends=cpu-noxnn", "--runs=5", "--min_seconds=0", "--ops") == 0
    output = capsys.readouterr().out
    assert "tiny.tflite on cpu-noxnn x1" in output
    assert "CONV_2D" in output or "op times unavailable" in output


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk(tiny_file, tmp_path, monkeypatch, capsys):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tfcompress.files.write", full)
    assert run(tiny_file, "--runs=1", "--min_seconds=0", f"--json={tmp_path / 'm.json'}") == 2
    captured = capsys.readouterr()
    assert "m.json can't be written: No space left on device" in captured.err
    # What was measured isn't lost.
    assert "tiny.tflite" in captured.out
    with open("/dev/full", "w") as target:
        words = [sys.executable, "-m", "tfcompress.benchmark", str(tiny_file)]
        words += ["--runs=1", "--min_seconds=0"]
        done = subprocess.run(words, stdout=target, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the result can't be printed: No space left on device\n"


def test_says_where_int8_gains_nothing(tmp_path, monkeypatch, capsys):
    content = matmul.matmul_file("int8", 16)
    (tmp_path / "m.tflite").write_bytes(content)
    slow = {**command.machine(), "features": ["AVX2"], "int8_dot_product": False}
    monkeypatch.setattr(command, "machine", lambda: slow)
    short = ("--runs=5", "--min_seconds=0")
    assert run(tmp_path / "m.tflite", *short) == 0
    output = capsys.readouterr().out
    assert "(AVX2)" in output
    assert "int8 gains little or no time" in output
    (tmp_path / "f.tflite").write_bytes(matmul.matmul_file("float32", 16))
    assert run(tmp_path / "f.tflite", *short) == 0
    assert "gains" not in capsys.readouterr().out
