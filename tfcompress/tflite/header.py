"""Tells whether a file is a `.tflite` file at all, by its first bytes."""

from __future__ import annotations

import os
import pathlib
import struct

from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line

# A flatbuffer begins with the offset of its root table; TFLite's identifier follows.
IDENTIFIER = b"TFL3"
HEADER_BYTES = 8


def checked_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a path whose file has the header of a `.tflite` file.

    Only the header is read, so that a wrong file is named at once and in plain words. What lies
    behind it is verified by whoever parses the file.

    Args:
        path: the file.

    Returns:
        The same path.

    Raises:
        InputError: it is no path, there is no such file, it can't be read, it is empty or too
            short, it lacks the `TFL3` identifier, or its root lies outside the file.
    """
    require(
        isinstance(path, str | os.PathLike),
        "expected the path of a .tflite file, as tfcompress.export writes it of a Keras model; got "
        f"{type(path).__name__}",
    )
    path = pathlib.Path(path)
    require(path.exists(), f"{path}: no such file; give the path of a .tflite file")
    require(path.is_file(), f"{path} is not a file; give the path of a .tflite file")
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error
    require(size_bytes > 0, f"{path} is empty; it should be a .tflite file")
    require(
        len(header) == HEADER_BYTES and header[4:] == IDENTIFIER,
        f"{path} is not a .tflite file: bytes 4 to 7 should read TFL3" + _way_on(path),
    )
    (root,) = struct.unpack_from("<I", header)
    require(
        HEADER_BYTES <= root <= size_bytes - 4,
        f"{path} is cut short or corrupt: its root is at byte {root} of {size_bytes}",
    )
    return path


def _way_on(path: pathlib.Path) -> str:
    """Says what to do with a file of Keras."""
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        return ""
    return "; keras.saving.load_model loads it, and tfcompress.export writes it as a .tflite file"


def corrupt(path: str | os.PathLike[str], cause: object) -> InputError:
    """Returns the error for a file whose header is right and whose content is not."""
    return InputError(
        f"{path} is cut short or corrupt ({one_line(cause, 200)}); export or download it again"
    )
