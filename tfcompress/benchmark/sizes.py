"""Measures how large a file is, as it lies on disk and as it travels in an app's package."""

from __future__ import annotations

import gzip
import math
import os
import pathlib
from collections.abc import Iterable

from tfcompress.errors import InputError
from tfcompress.tflite.content import FileContent, Tensor

# Bits of an element, by the schema's name of its type.
BITS = {
    "bool": 8,
    "int4": 4,
    "uint4": 4,
    "int2": 2,
    **{f"{kind}{bits}": bits for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)},
}


def size_bytes(path: str | os.PathLike[str]) -> int:
    """Returns the file's size in bytes.

    Raises:
        InputError: there is no such file.
    """
    return len(_content(path))


def gzip_bytes(path: str | os.PathLike[str]) -> int:
    """Returns the file's size in bytes after gzip at level 9, gzip's header included.

    The header's time stamp is 0, so that a file has one gzip size whenever that is measured.

    Raises:
        InputError: there is no such file.
    """
    return len(gzip.compress(_content(path), compresslevel=9, mtime=0))


def activation_bytes(file: FileContent) -> int:
    """Returns the bytes that the main graph's ops write in one inference, before any op is fused.

    Each tensor counts once, and an open size as the file writes it, which is 1.
    """
    return _bytes({out for op in file.ops if op.subgraph == 0 for out in op.outputs})


def input_bytes(file: FileContent) -> int:
    """Returns the bytes of an inference's inputs."""
    return _bytes(file.inputs)


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Adds up the bytes of the tensors' values."""
    return sum(math.prod(tensor.shape) * BITS.get(tensor.dtype, 0) // 8 for tensor in tensors)


def _content(path: str | os.PathLike[str]) -> bytes:
    """Reads the file."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error
