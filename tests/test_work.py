"""What is unfinished: seen by nobody, left by nobody, and nobody else's files touched."""

import errno
import fcntl
import os
import subprocess
import sys
import textwrap

import pytest

from tests.children import KILL_AT
from tfcompress import files, work
from tfcompress.errors import PathError
from tfcompress.work import held, work_folder


def child(code, *arguments):
    """Runs a program in a process of its own; returns what it printed."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_work_folder_goes_with_its_content(tmp_path):
    with work_folder(tmp_path) as one, work_folder(tmp_path) as other:
        assert one != other
        (one / "deep").mkdir()
        (one / "deep" / "file").write_text("unfinished")
        assert list(other.iterdir()) == []
        assert names(tmp_path)[0] == work.NAME
    assert names(tmp_path) == []


# Kills itself at the n-th call of a function that changes the disk, for every n, and writes
# again. Prints how many calls there were.
KILLED_EVERYWHERE = """
    import fcntl, os, signal, sys
    from pathlib import Path
    from tfcompress import files
    folder, target = Path(sys.argv[1]), Path(sys.argv[1]) / "m.bin"
    old, new = b"old" * 10, b"new" * 1000
    CALLS = [(os, name) for name in
             ("mkdir", "open", "replace", "fsync", "unlink", "rmdir", "rename", "write")]
    CALLS.append((fcntl, "flock"))

    for count in range(1000):
        target.write_bytes(old)
        pid = os.fork()
        if not pid:
            kill_at(count, CALLS)
            files.write(target, new)
            os._exit(0)
        ended = os.waitpid(pid, 0)[1]
        assert target.read_bytes() in (old, new), (count, len(target.read_bytes()))
        files.write(folder / "other.bin", b"next")
        left = sorted(path.name for path in folder.iterdir())
        assert left == ["m.bin", "mine.part", "other.bin"], (count, left)
        if ended == 0:
            assert target.read_bytes() == new
            print(count)
            break
        assert ended == signal.SIGKILL
"""


def test_killed_at_every_call_a_writer_leaves_nothing_that_the_next_does_not_remove(tmp_path):
    (tmp_path / "mine.part").write_text("a user's")
    assert int(child(KILL_AT + textwrap.dedent(KILLED_EVERYWHERE), tmp_path)) > 15
    assert (tmp_path / "mine.part").read_text() == "a user's"


def test_a_living_writer_keeps_its_part(tmp_path):
    code = """
        import sys
        from tfcompress import files
        files.write(sys.argv[1] + "/other", "")
    """
    with work_folder(tmp_path) as folder:
        (folder / "unfinished").write_text("")
        child(code, tmp_path)
        assert (folder / "unfinished").exists()
    assert names(tmp_path) == ["other"]


def test_many_writers_of_one_folder(tmp_path):
    code = """
        import os, signal, sys, threading
        from tfcompress import files
        number = int(sys.argv[2])
        def write(thread):
            for count in range(20):
                files.write(f"{sys.argv[1]}/{number}-{thread}", str(count))
        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(2)]
        [thread.start() for thread in threads]
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        [thread.join() for thread in threads]
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, -9]
    files.write(tmp_path / "last", "")
    for killed in ("2-0", "2-1"):
        (tmp_path / killed).unlink(missing_ok=True)
    assert names(tmp_path) == ["0-0", "0-1", "1-0", "1-1", "last"]
    assert (tmp_path / "0-0").read_text() == "19"


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_stranger_of_our_name_is_left_alone(tmp_path, kind):
    place, elsewhere = tmp_path / "out" / work.NAME, tmp_path / "elsewhere"
    place.parent.mkdir()
    elsewhere.mkdir()
    (elsewhere / "part-1").mkdir()
    (elsewhere / "part-1" / "precious").write_text("a user's")
    if kind == "folder":
        elsewhere.rename(place)
    elif kind == "file":
        place.write_text("a user's")
    else:
        place.symlink_to(elsewhere)
    before = names(tmp_path)
    for enter in (lambda: files.whole(place.parent / "m.tflite"), lambda: held(place.parent)):
        with (
            pytest.raises(PathError, match="isn't a folder of this version of tfcompress"),
            enter(),
        ):
            pass
    assert names(tmp_path) == before


def test_one_process_at_a_time_holds_a_folder(tmp_path):
    code = """
        import sys
        from tfcompress.work import held
        try:
            with held(sys.argv[1]):
                print("held")
        except ValueError as error:
            print(error)
    """
    with held(tmp_path) as state:
        state.mkdir()
        said = child(code, tmp_path)
        assert f"process {os.getpid()} on host " in said
        assert f"into {tmp_path}: wait for it" in said
        files.write(tmp_path / "meanwhile", "")
    assert child(code, tmp_path) == "held\n"
    assert names(tmp_path)[-2:] == [f"{work.NAME}/run", "meanwhile"]


def test_a_killed_process_holds_nothing(tmp_path):
    code = """
        import os, signal, sys
        from tfcompress.work import held
        with held(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    for _ in range(2):
        assert subprocess.run(command, timeout=60).returncode == -9
        assert f"{work.NAME}/run.lock" in names(tmp_path)
    files.write(tmp_path / "next", "")
    assert names(tmp_path) == ["next"]


# The files that are opened are two locks and the new one; the folders are three.
@pytest.mark.parametrize("name", ["open", "mkdir"])
@pytest.mark.parametrize("count", range(3))
def test_a_disk_that_fills_up_meanwhile(tmp_path, monkeypatch, name, count):
    usual, left = getattr(os, name), iter(range(count))

    def fill(path, *arguments, **named):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return usual(path, *arguments, **named)

    (tmp_path / "file").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, name, fill)
        with pytest.raises(OSError, match="No space left") as caught:
            files.write(tmp_path / "file", "new")
        assert caught.value.filename == str(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"
    files.write(tmp_path / "other", "")
    assert names(tmp_path) == ["file", "other"]


def test_a_disk_with_a_folder_left_but_no_file(tmp_path, monkeypatch):
    def fill(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fill)
        with pytest.raises(OSError, match="No space left"):
            files.write(tmp_path / "file", "")
    assert names(tmp_path) == []


def test_the_lock_of_a_file_that_its_last_holder_removed_is_none(tmp_path, monkeypatch):
    usual, removed = fcntl.flock, []

    def late(file, how):
        if not removed:
            removed.append((tmp_path / "lock").unlink())
        usual(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    lock = work.locked(tmp_path / "lock")
    assert os.fstat(lock).st_ino == (tmp_path / "lock").stat().st_ino
    assert work.locked(tmp_path / "lock") is None
    os.close(lock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with work_folder(tmp_path) as folder:
        (folder / "unfinished").write_text("")
        files.write(tmp_path / "file", "whole all the same")
        assert (folder / "unfinished").exists()
    with pytest.raises(PathError, match="has no file locks: take a local one"), held(tmp_path):
        pass
    assert names(tmp_path) == ["file"]
