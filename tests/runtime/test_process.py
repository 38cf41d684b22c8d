import sys

import pytest

from tests import children
from tests.children import LOADING
from tfcompress.errors import InputError
from tfcompress.runtime import process


@pytest.fixture
def child(monkeypatch):
    """Puts a line of Python in the place of the process for files."""
    return children.replace(monkeypatch, process)


def test_a_good_file_runs(tiny):
    assert process.check(tiny.path) is None
    found = process.cost(tiny.path)
    assert 0 < found.load_ms < 1000
    if sys.platform.startswith("linux"):
        # Python with NumPy and the runtime takes tens of MiB, and a tiny file adds a few.
        assert 10 * 2**20 < found.peak_memory_bytes < 500 * 2**20


def test_what_the_runtime_lacks_is_said_and_is_no_damage(tiny, tmp_path):
    """A custom op: another runtime may have it."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = schema.ModelT.InitFromPackedBuf(tiny.path.read_bytes(), 0)
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, 32
    code.customCode = b"Mine"
    path = tmp_path / "custom.tflite"
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    assert "Mine" in process.check(path)


def test_a_crash(child, tiny):
    child(LOADING + "import os; os.abort()")
    with pytest.raises(InputError, match=r"corrupt or made to crash.*load.*SIGABRT"):
        process.check(tiny.path)
    with pytest.raises(process.ProcessError, match=r"^/a/m\.tflite \(at load\): .*SIGABRT"):
        process.cost(tiny.path)


def test_a_hang(child, tiny):
    child(LOADING + "import time; time.sleep(60)")
    with pytest.raises(InputError, match=r"isn't loaded and run once after 0\.5 s: .*made to hang"):
        process.check(tiny.path, timeout_s=0.5)


def test_a_file_that_fails_verification(tiny, tmp_path):
    path = tmp_path / "short.tflite"
    path.write_bytes(tiny.path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"short\.tflite is cut short or corrupt"):
        process.check(path)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        process.check(tmp_path / "absent.tflite")


def test_a_large_file_may_take_more_memory(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(10))
    large.write_bytes(bytes(1000))
    request = process.check_request([small, large])
    assert request["memory_bytes"] == 4 * 2**30 + 32 * 1000
    assert request["paths"] == [str(small), str(large)]


def test_says_what_is_tried(tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(bytes(10))
    monkeypatch.setattr(sys, "platform", "linux")
    assert process.trial(path) == (
        "run once on random inputs (integers wider than 8 bits: zeros) in a process of its own, "
        "4.0 GiB and 60 s at most, 1 thread"
    )
    monkeypatch.setattr(sys, "platform", "win32")  # There the memory isn't limited.
    assert "its own, 60 s at most" in process.trial(path)
