"""Writes files that appear whole or not at all, and holds back what other people's code prints."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tfcompress.errors import InputError, PathError
from tfcompress.plain_text import plain_bytes
from tfcompress.work import work_folder

# What another path, or a right on the folder, would mend. A full disk is no such thing.
_WRONG_PATH = (
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
)


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path to write a file to, and then puts that file in its place.

    If the block raises, the disk is full or the process is killed, an old file of this name is left
    as it was. After the block not even a power cut undoes the new one.

    Args:
        path: the file; its folder must exist.

    Raises:
        PathError: no file can be written there.
        OSError: the disk is full or broken.
    """
    target = Path(path)
    _check_target(target)
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(work_folder(target.parent))
        except PathError:
            raise
        except OSError as error:
            raise _about(error, target) from error
        beside = folder / target.name
        try:
            yield beside
            put(beside, target)
        except OSError as error:
            # A write doesn't know where it goes, and nobody knows the work folder.
            if error.errno and (error.filename is None or _lies_in(error.filename, folder)):
                error.filename = str(target)
            raise


def write(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes text or bytes to a file that appears whole or not at all.

    Args:
        path: the file; its folder must exist.
        content: text is written as UTF-8, with the line ends that it has.

    Returns:
        The path.

    Raises:
        PathError: no file can be written there.
        OSError: the disk is full or broken.
    """
    with whole(path) as beside:
        beside.write_bytes(_encoded(content))
    return Path(path)


def user_cache() -> Path:
    """Returns the folder of tfcompress among the user's caches; it may not exist yet.

    A relative `$XDG_CACHE_HOME` is ignored, as the specification of these folders wants it.

    Raises:
        RuntimeError: the user has no home.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "tfcompress"


def _encoded(content: str | bytes) -> bytes:
    r"""Returns text as UTF-8; what UTF-8 doesn't have as `\udcff`, which JSON reads back.

    Names of files that aren't UTF-8 hold such characters in Python.
    """
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content


def put(source: Path, target: Path) -> None:
    """Moves a finished file to its place on the same disk, so that a power cut can't undo it.

    Raises:
        OSError: it can't be moved; an old file in its place is left as it was.
    """
    _sync(source)
    os.replace(source, target)
    if os.name != "nt":  # Windows opens no folders.
        try:
            _sync(target.parent)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP):
                raise


def _sync(path: Path) -> None:
    """Waits until the disk has a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_target(target: Path) -> None:
    """Refuses to write over what isn't an ordinary file.

    Raises:
        PathError: it is a folder, a symbolic link, or a device.
    """
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return  # There is nothing yet; if the folder can't be used, its writing says why.
    if stat.S_ISDIR(mode):
        raise PathError(f"{target} is a folder: give the name of the file to write")
    if stat.S_ISLNK(mode):
        raise PathError(
            f"{target} is a symbolic link to {os.readlink(target)}: give the file that it leads "
            "to, or remove the link"
        )
    if not stat.S_ISREG(mode):
        raise PathError(f"{target} isn't an ordinary file: give another name to write")


def _about(error: OSError, target: Path) -> OSError:
    """Returns the error of a folder that can't be written, in words about the file."""
    if error.errno in _WRONG_PATH:
        return PathError(f"{target} can't be written: {error.strerror}")
    error.filename = str(target)
    return error


def _lies_in(name: object, folder: Path) -> bool:
    return isinstance(name, str | os.PathLike) and Path(name).is_relative_to(folder)


@contextlib.contextmanager
def capture_stderr() -> Iterator[tuple[BinaryIO, int]]:
    """Sends what the whole process writes to stderr, C's libraries included, to a file.

    Yields:
        The file, and the descriptor of the real stderr.

    Raises:
        OSError: the process has no stderr.
    """
    # C++ writes past Python's sys.stderr, so the file descriptor itself is turned.
    with tempfile.TemporaryFile() as captured:
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield captured, stderr
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Holds back what other people's code prints; shows it on stderr if an error comes out."""
    with capture_stderr() as (captured, stderr), contextlib.redirect_stdout(io.StringIO()):
        try:
            yield
        except InputError:
            raise  # Its message is all that the user needs.
        except Exception:
            captured.seek(0)
            os.write(stderr, plain_bytes(captured.read()))
            raise
