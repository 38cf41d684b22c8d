"""How large a file is, as it lies on disk and as it travels in an app's package."""

from __future__ import annotations

import gzip
import os
import pathlib

from tfcompress.config import InputError


def size_bytes(path: str | os.PathLike[str]) -> int:
    """The file's size in bytes.

    Raises:
        InputError: there is no such file.
    """
    return len(_content(path))


def gzip_bytes(path: str | os.PathLike[str]) -> int:
    """The file's size after gzip at level 9, header included.

    The header's time stamp is 0, so that a file has one gzip size and not one per second.

    Raises:
        InputError: there is no such file.
    """
    return len(gzip.compress(_content(path), compresslevel=9, mtime=0))


def _content(path: str | os.PathLike[str]) -> bytes:
    """The file's bytes."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error
