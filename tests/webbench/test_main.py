import pytest

from tests.printed import assert_one_error_line
from tfcompress.webbench import __main__ as command


def run(*arguments):
    return command.main(["webbench", *map(str, arguments)])


def test_a_page_is_written(npm, small_file, tmp_path, capsys):
    out = tmp_path / "bench.html"
    assert run(small_file, f"--out={out}", "--runs=3") == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    assert out.read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.html", "cache"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one .tflite file"),
        (["absent.tflite"], "absent.tflite: no such file"),
        (["m.tflite", "--rnus=3"], "Unknown command line flag 'rnus'"),
        (["m.tflite", "--out=/no/such/folder/x.html"], "doesn't exist"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(npm, arguments, message, capsys):
    assert run(*arguments) == 2
    assert_one_error_line(capsys.readouterr(), message)


def test_a_port_that_does_not_exist(npm, small_file, tmp_path, capsys):
    out = tmp_path / "bench.html"
    assert run(small_file, f"--out={out}", "--serve", "--port=99999") == 2
    assert "--serve: 127.0.0.1:99999 can't be used" in capsys.readouterr().err


def test_help_teaches(capsys):
    assert run("--help") == 0
    output = capsys.readouterr().out
    for word in ("--out", "--serve", "WebGPU", "npm registry", "--compatible"):
        assert word in output
