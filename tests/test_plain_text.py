"""What a stranger's file holds must steer no terminal and stop no printing."""

import contextlib
import io
import subprocess
import sys

import pytest

from tests.benchmark.flat import Net
from tests.report.conftest import RUN
from tfcompress import compare, inspect, pack, run
from tfcompress.benchmark import __main__ as benchmark
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.errors import ExportError, InputError
from tfcompress.plain_text import PlainStream, one_line, plain_output, spell_out, unfiltered
from tfcompress.report.write import json_text
from tfcompress.runtime.process import ProcessError
from tfcompress.training.progress import Progress, say
from tfcompress.webbench import __main__ as webbench

# Clears the screen, sets the title, rings, goes back, hides, turns the writing, ends the line; the
# same by a C1 control; half of a pair, as in the name of a file that isn't UTF-8.
EVIL = "\x1b[2J\x1b]0;title\x07\x08\r\u200b\u202e\u2028\x9b2J\udcff"
SPELLED = r"\x1b[2J\x1b]0;title\x07\x08\r\u200b\u202e\u2028\x9b2J\udcff"


@contextlib.contextmanager
def terminal(encoding="utf-8"):
    """A stdout and stderr that really encode; yields what was written, as bytes."""
    before, written = (sys.stdout, sys.stderr), io.BytesIO()
    stream = io.TextIOWrapper(written, encoding, newline="", write_through=True)
    sys.stdout = sys.stderr = stream
    try:
        yield written
    finally:
        sys.stdout, sys.stderr = before
        stream.detach()  # Else it closes what it wrote to.


def assert_harmless(written, encoding="ascii"):
    """Only letters, line feeds and tabs."""
    text = written.getvalue().decode(encoding)
    assert text == spell_out(text)
    assert text


def test_what_is_spelled_out():
    assert spell_out(EVIL) == SPELLED
    assert spell_out("\x00\x7f\x85\xad\ufeff\u2066\U000e0041") == (
        r"\x00\x7f\x85\xad\ufeff\u2066\U000e0041"
    )


@pytest.mark.parametrize(
    "text",
    ["two\nlines\tand a tab", "Größe 写真　2024", "العربية עברית हिन्दी", "✓ → 🐈 🇫🇷 é n° 5", ""],
)
def test_what_stays(text):
    assert spell_out(text) == text


def test_one_line_is_bounded():
    text = one_line("begin " + "x" * 10**6 + " end")
    assert len(text) == 300
    assert text.startswith("begin xx")
    assert text.endswith("xx end")
    assert one_line(ValueError(EVIL)).startswith(r"\x1b[2J\x1b]0;title\x07\x08 \u200b\u202e \x9b")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_terminal_takes_it(encoding):
    with terminal(encoding) as written, plain_output():
        print("→ é", EVIL, file=sys.stdout)
        sys.stderr.writelines(["a\n", EVIL])
    text = written.getvalue().decode(encoding)
    assert text.count(SPELLED) == 2
    arrow = "→ é" if encoding == "utf-8" else "\\u2192 "
    assert text.startswith(arrow)


def test_streams_come_back():
    before = sys.stdout, sys.stderr
    with plain_output(), plain_output():
        assert isinstance(sys.stdout, PlainStream)
        assert unfiltered(sys.stdout) is before[0]
        assert unfiltered(before[0]) is before[0]
        assert sys.stdout.isatty() == before[0].isatty()
    assert (sys.stdout, sys.stderr) == before


def test_a_process_without_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with plain_output():
        assert sys.stdout is None


def test_a_traceback_is_filtered_too():
    code = (
        "from tfcompress.commands import run_command\n"
        "def fail(argv): raise RuntimeError('\\x1b[2J\\x9b')\n"
        "run_command(fail, [])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.decode("ascii").endswith("RuntimeError: \\x1b[2J\\x9b\n")


@pytest.mark.parametrize(
    "error",
    [
        InputError(EVIL),
        ExportError(EVIL),
        ProcessError({}, EVIL, {}),
        BenchmarkError(ProcessError({"file": EVIL}, "cause", {}), []),
    ],
)
def test_an_error_that_a_program_prints(error):
    assert r"\x1b[2J" in str(error)
    assert str(error) == spell_out(str(error))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A `.tflite` file whose op and tensors have such names, in a folder with such a name."""
    folder = tmp_path_factory.mktemp("strangers") / EVIL.replace("/", "")
    folder.mkdir()
    net = Net()
    x = net.tensor((1, 4))
    y = net.op("CUSTOM", [x], (1, 4))
    net.tensors[x].name = net.tensors[y].name = "\x1b[2J\u202e"
    path = net.write(folder / "evil.tflite", [x], [y])
    path.write_bytes(path.read_bytes().replace(b"Stub", b"\x1b[2J"))
    run_folder = folder / "run"
    run_folder.mkdir()
    report = json_text(RUN).replace('"vgg_small"', '"\\u001b[2J|\\ud800\\u202e"')
    (run_folder / "report.json").write_text(report)
    return folder


COMMANDS = [
    (inspect.main, "{}/evil.tflite", 0),
    (inspect.main, "{}/evil.tflite --json", 0),
    (inspect.main, "{}/absent", 2),
    (pack.main, "--unpack {}/evil.tflite {}/out", 2),
    (compare.main, "{}/evil.tflite", 0),
    (compare.main, "{}/run {}", 0),
    (compare.main, "{}/absent", 2),
    (benchmark.main, "{}/evil.tflite --runs=1", 1),
    (webbench.main, "{}/absent", 2),
    (run.main, "--technique={}", 2),
    (run.main, "--model={}/absent.keras", 2),
    (run.main, "--dataset=folder:{}/absent", 2),
    (run.main, "--{}", 2),
]


@pytest.mark.parametrize(
    ("main", "words", "status"),
    COMMANDS,
    ids=lambda value: getattr(value, "__module__", str(value)),
)
def test_no_command_lets_it_through(strangers, main, words, status):
    arguments = [word.replace("{}", str(strangers)) for word in words.split(" ")]
    with terminal("ascii") as written:
        found = main(["command", *arguments])
    assert_harmless(written)
    assert found == status
    if status == 2:
        assert written.getvalue().count(b"\n") == 1
        assert written.getvalue().startswith(b"error: ")


def test_stages_and_bars(monkeypatch):
    """Our own bar steers the terminal, and the stage's name in it doesn't."""
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as written, plain_output():
        say("stage", EVIL)
    assert SPELLED in written.getvalue().decode()

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = Progress("[red]\x1b[2J\u202e", 2, PlainStream(stream))
    progress.step(1, 5, 5)
    assert "\x1b[2K" in stream.getvalue() or "\x1b[?25l" in stream.getvalue()
    assert r"[red]\x1b[2J\u202e" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
