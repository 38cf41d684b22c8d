"""Which delegate a file needs: LiteRT has no 1-bit ops, tfcompress's kernels have.

Only the table of op codes is read, and nothing imported for it: the measuring processes ask, too,
and what they hold counts as the file's memory.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

from tfcompress.errors import InputError
from tfcompress.tflite.tables import MODEL, OP_CODE, tables, text, there

_OWN = b"TfcXnor"


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
            codes = tables(data, there(data, 0), MODEL["operator_codes"])
            return any(text(data, code, OP_CODE["custom_code"]).startswith(_OWN) for code in codes)
    except (OSError, ValueError, struct.error):  # Missing, empty, or corrupt.
        return False
