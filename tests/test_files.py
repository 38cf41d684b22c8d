import json
import os
import subprocess
import sys

import pytest

from tfcompress import files
from tfcompress.errors import InputError


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


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_what_is_no_ordinary_file_is_not_replaced(tmp_path, kind):
    path, other = tmp_path / "m.bin", tmp_path / "other"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(other)
        if kind == "link":
            other.write_text("old")
    mode, names = path.lstat().st_mode, sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"m\.bin is"):
        files.write(path, "new")
    assert path.lstat().st_mode == mode
    assert sorted(tmp_path.iterdir()) == names
    assert kind != "link" or other.read_text() == "old"


@pytest.mark.parametrize("place", ["missing/m.bin", "file/m.bin", "/proc/m.bin"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"m\.bin can't be written: \w+") as caught:
        files.write(tmp_path / place, "new")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# For the test, who may be root, a user who may not write; and a disk that is full at 100 bytes.
SMALL = """
import os, resource, sys
from tfcompress import commands, files
os.chdir(sys.argv[1])
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
elif os.geteuid() == 0:
    os.seteuid(65534)
sys.exit(commands.run_command(lambda _: files.write("m.bin", "new" * 100), []))
"""


@pytest.mark.parametrize(
    ("what", "reason"), [("full", "File too large"), ("read-only", "Permission denied")]
)
def test_a_full_disk_and_a_read_only_folder_are_one_line(tmp_path, what, reason):
    (tmp_path / "m.bin").write_text("old")
    (tmp_path / "m.bin").chmod(0o444)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    if what == "read-only":
        tmp_path.chmod(0o555)
    command = [sys.executable, "-c", SMALL, str(tmp_path), what]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    tmp_path.chmod(0o755)
    assert (ended.returncode, ended.stderr) == (2, f"error: m.bin can't be written: {reason}\n")
    assert (tmp_path / "m.bin").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["m.bin"]


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


def test_text_that_utf8_does_not_have(tmp_path):
    """A file's name that isn't UTF-8, in a report: JSON gives it back."""
    name = os.fsdecode(b"caf\xe9")
    path = files.write(tmp_path / "x.json", json.dumps([name, "é"], ensure_ascii=False))
    assert path.read_text(encoding="utf-8") == '["caf\\udce9", "é"]'
    assert json.loads(path.read_text(encoding="utf-8")) == [name, "é"]
