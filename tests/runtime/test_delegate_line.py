"""What LiteRT says of its own delegate isn't shown; whatever else comes on stderr is."""

import os
import subprocess
import sys

import pytest

from tfcompress.runtime import delegate_line
from tfcompress.runtime.delegate_line import drop_delegate_line

LINE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
PREDICT = (
    "import sys, numpy as np\n"
    "from tfcompress.runtime import LiteModel\n"
    "def outputs(): return LiteModel(sys.argv[1]).predict(np.zeros((1, 8, 8, 3), np.float32))\n"
)


@pytest.fixture
def unseen(monkeypatch):
    """As in a process that made no delegate yet."""
    monkeypatch.setattr(delegate_line, "_seen", False)


def run(code, path, *shell):
    words = [*shell, sys.executable, "-c", PREDICT + code, str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=True)


def test_a_model_leaves_stderr_empty(tiny):
    assert run("outputs(); outputs()", tiny.path).stderr == ""


def test_the_line_is_the_runtimes(tiny):
    """If this fails, LiteRT words its line anew, or no longer writes it."""
    code = (
        "from ai_edge_litert.interpreter import Interpreter\n"
        "Interpreter(sys.argv[1]).allocate_tensors()"
    )
    assert LINE.decode() in run(code, tiny.path).stderr


def test_other_lines_come_out(unseen, capfd):
    with drop_delegate_line():
        os.write(2, b"INFO: before\n" + LINE + b"ERROR: behind\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "INFO: before\nERROR: behind\n"


def test_lines_that_led_to_an_error_come_out(unseen, capfd):
    def fail():
        with drop_delegate_line():
            os.write(2, b"ERROR: the cause\n")
            raise RuntimeError("no such op")

    with pytest.raises(RuntimeError, match="no such op"):
        fail()
    assert capfd.readouterr().err == "ERROR: the cause\n"


def test_stderr_is_left_alone_once_the_line_was_seen(unseen, capfd):
    for number in range(2):
        with drop_delegate_line():
            os.write(2, b"other\n")
            held_back = capfd.readouterr().err == ""
            os.write(2, LINE)
        assert held_back == (number == 0)
    assert capfd.readouterr().err == LINE.decode()


def test_a_process_without_stderr(tiny):
    done = run("print(outputs().shape)", tiny.path, "sh", "-c", 'exec "$0" "$@" 2>&-')
    assert done.stdout == "(1, 5)\n"


def test_threads_that_load_at_the_same_time_keep_stderr(tiny):
    code = (
        "import os\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: list(pool.map(lambda _: outputs(), range(32)))\n"
        "os.write(2, b'still here\\n')"
    )
    assert run(code, tiny.path).stderr == "still here\n"
