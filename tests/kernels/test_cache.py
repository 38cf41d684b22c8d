"""The cache of compiled kernels, from which code is loaded: what is planted there, cut, or could be
changed by others isn't loaded.
"""

import os
import signal
import subprocess
import sys

import pytest

from tfcompress import files
from tfcompress.kernels import BuildError, cache

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes of files")

NAME, SUFFIX = "xnor-0123456789abcdef", ".so"


def compiled(folder, content=b"library"):
    return cache.keep(NAME, SUFFIX, folder, lambda path: path.write_bytes(content))


def found(folder):
    return cache.find(NAME, SUFFIX, folder)


@pytest.fixture
def kept(tmp_path):
    """The path of a library in a cache of its own."""
    return compiled(tmp_path)


def test_what_is_kept_is_found_and_private(tmp_path):
    assert found(tmp_path) is None
    before = os.umask(0)
    try:
        path = compiled(tmp_path)
    finally:
        os.umask(before)
    assert found(tmp_path) == path
    assert path.read_bytes() == b"library"
    assert sorted(one.suffix for one in tmp_path.iterdir()) == [".sha256", ".so"]
    assert not [one for one in tmp_path.iterdir() if one.stat().st_mode & 0o022]


def test_the_note_is_what_sha256sum_reads(kept):
    note = kept.with_name(f"{NAME}.sha256")
    command = ["sha256sum", "--check", "--strict", note.name]
    assert subprocess.run(command, cwd=kept.parent, capture_output=True).returncode == 0


def test_a_library_without_a_note_is_none(tmp_path, capsys):
    """Its name can be known by everyone: it is a digest of the sources and the compiler."""
    for name in (f"{NAME}.so", f"{NAME}-0123456789abcdef.so"):
        (tmp_path / name).write_bytes(b"planted")
    assert found(tmp_path) is None
    assert capsys.readouterr().err == ""


def plant(path):
    path.write_bytes(b"planted")


def cut(path):
    path.write_bytes(path.read_bytes()[:3])


def open_to_all(path):
    path.chmod(0o722)


def open_note_to_all(path):
    path.with_name(f"{NAME}.sha256").chmod(0o606)


def link(path):
    elsewhere = path.rename(path.with_name("elsewhere"))
    path.symlink_to(elsewhere)


def name_another(path):
    other = path.with_name("other.so")
    other.write_bytes(path.read_bytes())
    note = path.with_name(f"{NAME}.sha256")
    note.write_text(note.read_text().replace(path.name, "../other.so"))


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (plant, "isn't what was compiled: its SHA-256 is another one"),
        (cut, "isn't what was compiled: its SHA-256 is another one"),
        (open_to_all, "can be written by others"),
        (open_note_to_all, "can be written by others"),
        (link, "Too many levels of symbolic links"),
        (name_another, "doesn't name a library"),
        (replace_by_pipe, "isn't an ordinary file"),
    ],
)
def test_what_was_changed_is_made_anew(kept, harm, why, capsys):
    harm(kept)
    assert found(kept.parent) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compiled 1-bit kernels aren't used and made anew: ")
    assert why in line
    assert compiled(kept.parent) == kept == found(kept.parent)
    assert capsys.readouterr().err == ""


@pytest.fixture
def named(monkeypatch):
    def name(path):
        monkeypatch.setenv("TFCOMPRESS_CACHE", str(path))
        return cache.folder()

    return name


def test_a_folder_is_made_with_those_above_it(named, tmp_path):
    before = os.umask(0)
    try:
        folder = named(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert folder == tmp_path / "a" / "b"
    assert {one.stat().st_mode & 0o777 for one in (folder, folder.parent)} == {0o700}


def test_a_folder_above_that_others_can_write(named, tmp_path):
    folder = tmp_path / "open" / "cache"
    named(folder)
    folder.parent.chmod(0o777)
    with pytest.raises(BuildError, match=f"^{folder.parent} belongs to or can be written"):
        named(folder)
    folder.parent.chmod(0o1777)  # As /tmp: there nobody can move what is another's.
    assert named(folder) == folder
    with pytest.raises(BuildError, match="can be written by others"):
        named(folder.parent)


def test_another_users_folder(named, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_owners", lambda: (tmp_path.stat().st_uid + 1,))
    with pytest.raises(BuildError, match="belongs to or can be written by others"):
        named(tmp_path)


def test_a_link_is_followed_before_anything_is_checked(named, tmp_path):
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    assert named(tmp_path / "link") == real
    real.chmod(0o777)
    with pytest.raises(BuildError, match=f"^{real} belongs to or can be written by others"):
        named(tmp_path / "link")


def test_a_link_that_others_can_turn(named, tmp_path):
    """It leads to a folder of the user's now, and to another one tomorrow."""
    real, loose = tmp_path / "real", tmp_path / "open"
    for one in (real, loose):
        one.mkdir(mode=0o700)
    (loose / "link").symlink_to("../real")
    assert named(loose / "link") == real
    loose.chmod(0o777)
    with pytest.raises(BuildError, match=f"^{loose} belongs to or can be written by others"):
        named(loose / "link")


def test_links_in_a_circle(named, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BuildError, match=r"^no cache folder for the kernels: .*symbolic links"):
        named(tmp_path / "a")


def test_a_relative_cache_folder_is_refused(named):
    with pytest.raises(BuildError, match=r"^the cache folder here of TFCOMPRESS_CACHE depends on"):
        named("here")


def test_a_relative_xdg_cache_home_is_ignored(monkeypatch, tmp_path):
    monkeypatch.delenv("TFCOMPRESS_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache.folder() == files.user_cache() == tmp_path / ".cache" / "tfcompress"
    assert not (tmp_path / "here").exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    assert cache.folder() == tmp_path / "there" / "tfcompress"


# A process that compiles until it is told to stop: it says that it has begun, and waits for a line.
COMPILES = """
import pathlib, sys
from tfcompress.kernels import cache

def compile_to(path):
    path.write_bytes(b"unfinished")
    print("begun", flush=True)
    sys.stdin.readline()
    path.write_bytes(sys.argv[2].encode())

print(cache.keep("xnor-0123456789abcdef", ".so", pathlib.Path(sys.argv[1]), compile_to))
"""


def compiling(folder, content):
    child = subprocess.Popen(
        [sys.executable, "-c", COMPILES, str(folder), content],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "begun\n"
    return child


def test_a_compiler_that_is_killed_leaves_nothing(tmp_path):
    child = compiling(tmp_path, "library")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert found(tmp_path) is None
    assert compiled(tmp_path) == found(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("contents", [("library", "library"), ("library", "another")])
def test_two_that_compile_at_once(tmp_path, contents):
    children = [compiling(tmp_path, content) for content in contents]
    paths = [child.communicate("go on\n")[0].strip() for child in children]
    for path, content in zip(paths, contents, strict=True):
        with open(path) as file:
            assert file.read() == content
    assert str(found(tmp_path)) in paths
    assert len(list(tmp_path.iterdir())) == len(set(contents)) + 1
