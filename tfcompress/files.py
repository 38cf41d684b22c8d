"""Writes files that appear whole or not at all, and holds back what other people's code prints."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tfcompress.errors import InputError


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path beside the file to write to, and then puts that file in its place.

    If the block raises, an old file of this name is left as it was and nothing new is left behind.

    Args:
        path: the file; its folder must exist.

    Raises:
        OSError: the folder can't be written.
    """
    target = Path(path)
    descriptor, name = tempfile.mkstemp(
        prefix=f".{target.name}.", suffix=".part", dir=target.parent
    )
    os.close(descriptor)
    beside = Path(name)
    try:
        yield beside
        # mkstemp makes files that only the owner reads; a result is an ordinary file.
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(target)  # A write doesn't know where it goes.
        raise


def write(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes text or bytes to a file that appears whole or not at all.

    Args:
        path: the file; its folder must exist.
        content: text is written as UTF-8, with the line ends that it has.

    Returns:
        The path.

    Raises:
        OSError: the folder can't be written.
    """
    with whole(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


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
            os.write(stderr, captured.read())
            raise
