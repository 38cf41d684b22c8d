import os

import pytest

from tfcompress import files


def test_writes_text_and_bytes(tmp_path):
    path = files.write(tmp_path / "a.txt", "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert files.write(path, b"\x00\x01").read_bytes() == b"\x00\x01"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]


def test_an_ordinary_file(tmp_path):
    mask = os.umask(0o022)
    try:
        assert files.write(tmp_path / "a", "x").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


def test_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_quiet_holds_back_c_and_python(capfd):
    with files.quiet():
        print("python")
        os.write(2, b"c\n")
    assert capfd.readouterr() == ("", "")


def test_quiet_shows_what_led_to_an_error(capfd):
    def fail():
        with files.quiet():
            os.write(2, b"the cause\n")
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert capfd.readouterr().err == "the cause\n"
