import time

import pytest

from tests import children
from tests.children import LOADING
from tfcompress.benchmark import process
from tfcompress.benchmark.process import BenchmarkError, ask


@pytest.fixture
def child(monkeypatch):
    """Puts a line of Python in the place of the measuring process."""
    return children.replace(monkeypatch, process)


def test_answer(child):
    child("import json, sys; print(json.dumps({'answer': json.load(sys.stdin)}))")
    request = {"task": "memory", "paths": ["/a/m.tflite"]}
    assert ask(request, timeout_s=30) == request


def test_crash_names_file_signal_and_last_words(child):
    child(
        LOADING + "import os; print('INFO: x', file=sys.stderr); "
        "print('broken tensor', file=sys.stderr, flush=True); "
        "print('INFO: y', file=sys.stderr, flush=True); os.abort()"
    )
    with pytest.raises(BenchmarkError) as caught:
        ask({"paths": ["/a/m.tflite", "/b.tflite"]}, timeout_s=30)
    assert (caught.value.outcome, caught.value.file) == ("crashed", "/a/m.tflite")
    assert str(caught.value) == (
        "/a/m.tflite (at load): the measuring process was killed by SIGABRT: broken tensor"
    )


def test_kill_suggests_memory(child):
    child(LOADING + "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(BenchmarkError, match=r"killed by SIGKILL \(out of memory\?\)"):
        ask({"paths": ["/a/m.tflite"]}, timeout_s=30)


def test_exit_without_an_answer(child):
    child("import sys; sys.exit(3)")
    with pytest.raises(BenchmarkError, match=r"m\.tflite .*exit status 3 and without an answer"):
        ask({"paths": ["/a/m.tflite"]}, timeout_s=30)


def test_silent_success_is_no_answer(child):
    child("pass")
    with pytest.raises(BenchmarkError, match="exit status 0 and without an answer"):
        ask({"paths": []}, timeout_s=30)


def test_reported_error(child):
    child(
        'import sys; print(\'{"stage": "first run", "file": "/a/m.tflite", "error": "no op X"}\'); '
        "sys.exit(1)"
    )
    with pytest.raises(BenchmarkError, match=r"/a/m\.tflite \(at first run\): no op X"):
        ask({"paths": ["/a/m.tflite"]}, timeout_s=30)


def test_timeout_names_file_and_remedy(child):
    child(LOADING + "import time; time.sleep(60)")
    with pytest.raises(
        BenchmarkError, match=r"m\.tflite .*: not done after 1 s; raise timeout_s"
    ) as caught:
        ask({"paths": ["/a/m.tflite"]}, timeout_s=1)
    assert (caught.value.outcome, caught.value.file) == ("timeout", "/a/m.tflite")


def test_a_grandchild_does_not_hold_the_answer_up(child):
    """It has the child's pipes, and would keep them open."""
    child(LOADING + "import subprocess; subprocess.run(['sleep', '60'])")
    start = time.monotonic()
    with pytest.raises(BenchmarkError, match="not done after 1 s"):
        ask({"paths": ["/a/m.tflite"]}, timeout_s=1)
    assert time.monotonic() - start < 30


def test_an_answer_counts_whatever_comes_after(child):
    """Native code may crash while it cleans up."""
    child('import os; print(\'{"answer": {"x": 1}}\', flush=True); os.abort()')
    assert ask({"paths": []}, timeout_s=30) == {"x": 1}


def test_other_output_is_not_the_protocol(child):
    child("print('hello'); print('[1]'); print('{\"answer\": {\"x\": 1}}'); print('{broken')")
    assert ask({"paths": []}, timeout_s=30) == {"x": 1}
