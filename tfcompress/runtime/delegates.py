"""Which delegate a file needs: LiteRT has no 1-bit ops, tfcompress's kernels have.

Only the table of op codes is read, and nothing imported for it: the measuring processes ask, too,
and what they hold counts as the file's memory.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from typing import Any

from tfcompress.config import InputError

_OWN = b"TfcXnor"
# Fields of the schema's tables.
_OP_CODES, _CUSTOM_CODE = 1, 1
# More kinds of ops than there are: a file that names more has a broken table.
_MOST_CODES = 4096


def delegates(path: str | os.PathLike[str]) -> list[Any] | None:
    """What an interpreter's `experimental_delegates` takes for a file.

    XNNPACK gets the other ops as ever.

    Args:
        path: of a `.tflite` file.

    Returns:
        A list of tfcompress's delegate if the file holds 1-bit ops, else None.

    Raises:
        InputError: it holds some, and there are no kernels here.
    """
    if not has_bit_ops(path):
        return None
    from tfcompress import kernels

    try:
        return [kernels.delegate()]
    except InputError as error:
        raise InputError(f"{path} holds 1-bit ops of tfcompress's own, but {error}") from error


def has_bit_ops(path: str | os.PathLike[str]) -> bool:
    """Whether a file names ops of tfcompress's kernels; False of a file that can't be read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(name.startswith(_OWN) for name in _custom_codes(data))
    except (OSError, ValueError, struct.error):  # Missing, empty, or corrupt.
        return False


def _custom_codes(data: mmap.mmap) -> Iterator[bytes]:
    """The beginnings of the names of a file's custom ops."""
    codes = _field(data, _there(data, 0), _OP_CODES)
    if codes is None:
        return
    (count,) = struct.unpack_from("<I", data, codes)
    for number in range(min(count, _MOST_CODES)):
        name = _field(data, _there(data, codes + 4 + 4 * number), _CUSTOM_CODE)
        if name is not None:
            yield data[name + 4 : name + 4 + len(_OWN)]


def _field(data: mmap.mmap, table: int, number: int) -> int | None:
    """The place of what a table's field points to; None if the table hasn't got it."""
    fields = table - int(struct.unpack_from("<i", data, table)[0])
    (size,) = struct.unpack_from("<H", data, fields)
    entry = 4 + 2 * number
    offset = struct.unpack_from("<H", data, fields + entry)[0] if entry < size else 0
    return _there(data, table + int(offset)) if offset else None


def _there(data: mmap.mmap, place: int) -> int:
    """Where an offset leads."""
    return place + int(struct.unpack_from("<I", data, place)[0])
