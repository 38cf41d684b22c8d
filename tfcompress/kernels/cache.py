"""Keeps compiled kernels where only their user can change them, and knows them by their SHA-256.

What lies in the cache is loaded as code. So only the user and root may be able to write the
folder, and to put another in its place; a library is loaded only if it is, byte for byte, what was
compiled. After the checks it is loaded by its path: only the user could change it in between.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from tfcompress import files, work
from tfcompress.errors import PlainError

_NAMED = "TFCOMPRESS_CACHE"
# Leaves room for a line, and none for a flood.
_MOST_LINE_BYTES = 500
_MOST_LINKS = 40


class BuildError(PlainError, RuntimeError):
    """Says in one line why the kernels can't be compiled or loaded here."""


def folder() -> Path:
    """Returns the cache folder, without symbolic links in its path; makes it if there is none.

    It is `$TFCOMPRESS_CACHE`, else `tfcompress` in the user's cache folder.

    Raises:
        BuildError: it can't be made, or others than the user and root may write it or put another
            in its place.
    """
    named = os.environ.get(_NAMED)
    try:
        path = Path(named) if named else files.user_cache()
        if not path.is_absolute():
            raise BuildError(
                f"the cache folder {path} of {_NAMED if named else 'HOME'} depends on where a "
                "program is started: give a path from the root"
            )
        _make(path)
        real = _private(path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, BuildError):
            raise
        raise BuildError(f"no cache folder for the kernels: {error}") from error
    return real


def find(name: str, suffix: str, inside: Path) -> Path | None:
    """Returns a library that was compiled before.

    Args:
        name: what it was compiled of and with; its file's name begins with it.
        suffix: how its file's name ends.
        inside: the cache folder.

    Returns:
        The path; None if there is none, or if it isn't what was compiled, which a line on stderr
        says.
    """
    note = inside / f"{name}.sha256"
    try:
        line = _read(note, _MOST_LINE_BYTES).decode("ascii", "replace")
        digest = line.partition(" ")[0]
        path = inside / _file_name(name, digest, suffix)
        if line != _note(digest, path.name):
            raise BuildError(f"{note} doesn't name a library")
        if hashlib.sha256(_read(path)).hexdigest() != digest:
            raise BuildError(f"{path} isn't what was compiled: its SHA-256 is another one")
    except FileNotFoundError:
        return None
    except (BuildError, OSError) as error:
        print(f"compiled 1-bit kernels aren't used and made anew: {error}", file=sys.stderr)
        return None
    return path


def keep(name: str, suffix: str, inside: Path, compile_to: Callable[[Path], None]) -> Path:
    """Compiles a library into the cache and returns its path.

    Two processes may do so at the same time. The library is there as a whole before the note that
    names it, so that a process killed at any time leaves nothing that would be loaded.

    Args:
        name: as in `find`.
        suffix: as in `find`.
        inside: the cache folder.
        compile_to: writes the library to a path.

    Raises:
        BuildError: it can't be compiled, or the folder can't be written.
    """
    try:
        with contextlib.suppress(FileExistsError):
            (inside / work.NAME).mkdir(mode=0o700)  # Whatever the umask is.
        with work.work_folder(inside) as unfinished:
            unfinished.chmod(0o700)
            _private(unfinished)
            library, note = unfinished / f"library{suffix}", unfinished / "note"
            compile_to(library)
            library.chmod(0o700)
            digest = hashlib.sha256(library.read_bytes()).hexdigest()
            path = inside / _file_name(name, digest, suffix)
            note.write_text(_note(digest, path.name))
            note.chmod(0o600)
            files.put(library, path)
            files.put(note, inside / f"{name}.sha256")
    except OSError as error:
        raise BuildError(f"the cache folder {inside} can't be written: {error}") from error
    return path


def _file_name(name: str, digest: str, suffix: str) -> str:
    return f"{name}-{digest[:16]}{suffix}"


def _note(digest: str, file_name: str) -> str:
    """Returns the line of a library, as `sha256sum` writes it."""
    return f"{digest}  {file_name}\n"


def _read(path: Path, most: int = -1) -> bytes:
    """Reads a file that only its user and root may have written.

    Raises:
        BuildError: others may write it, or it isn't an ordinary file.
        OSError: it can't be read, or is a symbolic link.
    """
    opened = os.open(
        path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    with open(opened, "rb") as file:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            raise BuildError(f"{path} isn't an ordinary file")
        if _owners() and (state.st_uid not in _owners() or state.st_mode & 0o022):
            raise BuildError(f"{path} can be written by others")
        return file.read(most)


def _make(path: Path) -> None:
    """Makes a folder and those above it; only this user may use them."""
    for one in reversed([path, *path.parents]):
        with contextlib.suppress(FileExistsError):
            if not one.exists():
                one.mkdir(mode=0o700)


def _private(path: Path) -> Path:
    """Follows a path as the system does, and checks who may change where it leads.

    Returns:
        The folder, without symbolic links in its path.

    Raises:
        BuildError: the folder can be written by others, or one on the way to it, in which they
            could put another in its place. In a folder like `/tmp` they can't.
        OSError: a folder on the way can't be looked at.
    """
    if not _owners():  # Windows, where a user's folders are the user's.
        return path.resolve()
    current, rest, links = Path(path.anchor), list(reversed(path.parts[1:])), 0
    while True:
        state = os.lstat(current)
        links += stat.S_ISLNK(state.st_mode)
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        sticky = stat.S_ISDIR(state.st_mode) and rest and state.st_mode & stat.S_ISVTX
        loose = state.st_mode & 0o022 and not sticky and not stat.S_ISLNK(state.st_mode)
        if state.st_uid not in _owners() or loose:
            raise BuildError(
                f"{current} belongs to or can be written by others, and what lies in {path} is "
                f"loaded as code: chmod go-w it, or name another folder in {_NAMED}"
            )
        if stat.S_ISLNK(state.st_mode):
            target = Path(os.readlink(current))
            rest.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
            current = Path(target.anchor) if target.is_absolute() else current.parent
        if not rest:
            return current
        part = rest.pop()
        current = current.parent if part == ".." else current / part


def _owners() -> tuple[int, ...]:
    """Returns the numbers of the users who may change what is loaded; none on Windows.

    In a container whose users are another system's, that system's root has the number of nobody.
    """
    if not hasattr(os, "getuid"):
        return ()
    owners: tuple[int, ...] = (os.getuid(), 0)
    with contextlib.suppress(OSError, ValueError):
        if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
            owners += (int(Path("/proc/sys/kernel/overflowuid").read_text()),)
    return owners
