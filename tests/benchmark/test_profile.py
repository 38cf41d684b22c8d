import numpy as np
import pytest

from tfcompress.benchmark import profile as room
from tfcompress.benchmark import profiler
from tfcompress.benchmark.backends import REFERENCE, parse
from tfcompress.benchmark.profile import Profile, profile, summary, top_ops


def test_means_of_the_calm_half():
    # Three calm runs of 1 and 2 or 3 us, and two that something disturbed.
    elapsed = [[1, 2], [90, 2], [1, 3], [1, 3], [1, 400]]
    found = summary({"names": ["A", "B"], "elapsed_us": elapsed, "plain_us": [5, 3, 900]})
    assert [op.name for op in found.ops] == ["A", "B"]
    assert [op.ms for op in found.ops] == pytest.approx([1e-3, 8e-3 / 3])
    assert sum(op.share for op in found.ops) == pytest.approx(1)
    assert found.run_ms == 5e-3
    assert found.coverage == pytest.approx((1 + 8 / 3) / 5)


def test_kinds_of_ops():
    names = ["CONV", "ADD", "CONV", *(f"OP{n}" for n in range(10))]
    elapsed = [[30, 5, 20, *[1] * 10]]
    found = summary({"names": names, "elapsed_us": elapsed, "plain_us": [65]})
    assert list(found.by_name().items())[:2] == [("CONV", (2, 0.05)), ("ADD", (1, 0.005))]
    lines = top_ops(found, 3).splitlines()
    assert lines[2].split() == ["CONV", "2", "0.0500", "76.9"]
    assert lines[-2].split() == ["9", "other", "kinds", "9", "0.0090", "13.8"]
    assert lines[-1] == "all ops: 0.0650 ms, 100% of a whole run"


def test_what_is_unavailable_is_said(monkeypatch, tiny_file):
    assert summary({"names": [], "elapsed_us": [[]], "plain_us": [1]}).unavailable
    monkeypatch.setattr(profiler, "CHECKED", ("1.0",))
    monkeypatch.setattr(room.process, "ask", lambda *_, **__: pytest.fail("asked a process"))
    found = profile(tiny_file, parse("cpu"))
    assert found.ops == ()
    assert found.coverage is None
    assert top_ops(found).startswith("op times unavailable: op times were checked ")


@pytest.mark.skipif(profiler.unavailable() != "", reason=profiler.unavailable())
def test_ops_of_a_file(tiny_file):
    found = profile(tiny_file, REFERENCE)
    assert [op.name for op in found.ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert found.ops[0].ms > 0
    assert found.run_ms > 0
    delegated = profile(tiny_file, parse("cpu"))
    assert any("Convolution" in op.name for op in delegated.ops)
    assert found.to_json()["coverage"] == pytest.approx(
        np.sum([op.ms for op in found.ops]) / found.run_ms
    )


@pytest.mark.skipif(profiler.unavailable() != "", reason=profiler.unavailable())
def test_a_process_that_fails_has_a_reason(tmp_path):
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\xff" * 100)
    found = profile(path, parse("cpu"))
    assert isinstance(found, Profile)
    assert "LiteRtCreateModelFromFile failed" in found.unavailable
