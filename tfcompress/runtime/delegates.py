"""Finds the delegate that a file needs: LiteRT has no 1-bit ops, tfcompress's kernels have.

Only the table of op codes is read, and nothing is imported for that: the measuring processes ask,
too, and what they hold counts as the file's memory.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

from tfcompress.errors import InputError
from tfcompress.tflite.tables import MODEL, OP_CODE, tables, text, there

# The names of tfcompress's ops begin with it.
_BIT_OPS = b"TfcXnor"


def delegates_for(path: str | os.PathLike[str]) -> list[Any] | None:
    """Returns what an interpreter's `experimental_delegates` should be for a file.

    The file's other ops go to XNNPACK all the same.

    Args:
        path: of a `.tflite` file.

    Returns:
        A list with tfcompress's delegate if the file holds 1-bit ops, else None.

    Raises:
        InputError: the file holds 1-bit ops, and there are no kernels here.
    """
    if not has_bit_ops(path):
        return None
    from tfcompress import kernels

    try:
        return [kernels.delegate()]
    except InputError as error:
        raise InputError(f"{path} holds 1-bit ops of tfcompress's own, but {error}") from error


def has_bit_ops(path: str | os.PathLike[str]) -> bool:
    """Tells whether a file names ops of tfcompress's kernels; False if it can't be read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            codes = tables(data, there(data, 0), MODEL["operator_codes"])
            return any(
                text(data, code, OP_CODE["custom_code"]).startswith(_BIT_OPS) for code in codes
            )
    except (OSError, ValueError, struct.error):  # Missing, empty, or corrupt.
        return False
