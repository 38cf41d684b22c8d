import os

import pytest

from tfcompress.report.files import atomic_write


def test_writes_text_and_bytes(tmp_path):
    path = atomic_write(tmp_path / "new" / "a.txt", "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert atomic_write(path, b"\x00\x01").read_bytes() == b"\x00\x01"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]


def test_an_ordinary_file(tmp_path):
    mask = os.umask(0o022)
    try:
        assert atomic_write(tmp_path / "a", "x").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]
