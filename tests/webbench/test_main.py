import contextlib
import http.client
import threading
import urllib.parse

import pytest

from tests.printed import assert_one_error_line
from tfcompress.webbench import __main__ as command
from tfcompress.webbench.serve import PageServer


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


def test_a_served_page(npm, small_file, tmp_path, monkeypatch, capsys):
    """The printed address is the page's; Ctrl-C ends."""
    fetched = []

    def serve_once(self):
        threading.Thread(target=self.handle_request, daemon=True).start()
        address = urllib.parse.urlsplit(capsys.readouterr().out.splitlines()[-1].split()[0])
        with contextlib.closing(http.client.HTTPConnection(address.netloc)) as connection:
            connection.request("GET", address.path)
            fetched.append(connection.getresponse().read().decode())
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", serve_once)
    out = tmp_path / "bench.html"
    assert run(small_file, f"--out={out}", "--serve") == 0
    assert fetched == [out.read_text()]


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "no such host", "1.2.3.4"])
def test_a_host_that_is_not_here(npm, small_file, tmp_path, host, capsys):
    assert run(small_file, f"--out={tmp_path / 'b.html'}", "--serve", f"--host={host}") == 2
    assert f"error: --serve: {host}:0 can't be used" in capsys.readouterr().err
