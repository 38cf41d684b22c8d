"""Parses a `.tflite` file's flatbuffer, and refuses one that unfolds to more than it holds.

A flatbuffer's tables and vectors refer to others by their places, and several may refer to one. The
schema's generated Python reads it anew each time: a hundred graphs that share one of a hundred
tensors are ten thousand tensors, of a file of a kilobyte. Writers of models share nothing but the
lists of a table's fields, so that what is read, however often, can't be much more than the file.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import types
from collections.abc import Iterator
from typing import Any

from tfcompress.errors import InputError
from tfcompress.tflite import header

# Each table costs its place and where its fields are; the generated code looks most up twice.
_LOOK_UP_BYTES = 4
# What is read of a converter's file was 0.6 to 1.0 times its size, of 131 files.
_MOST_TIMES, _MOST_MORE = 2, 4096
# The bytes that may still be read, of the file that is being parsed.
_left: contextvars.ContextVar[list[int] | None] = contextvars.ContextVar("_left", default=None)


class _SharedError(Exception):
    """More was read of a file than it can hold without sharing."""


def unpack(data: bytes, path: str | os.PathLike[str]) -> Any:
    """Parses a file into the schema's objects, which can be changed and written.

    Args:
        data: the file's bytes.
        path: for errors.

    Returns:
        A `ModelT` of the schema.

    Raises:
        InputError: the file is cut short or corrupt, or its tables share their places.
    """
    with reading(data, path) as schema:
        return schema.ModelT.InitFromPackedBuf(data, 0)


@contextlib.contextmanager
def reading(data: bytes, path: str | os.PathLike[str]) -> Iterator[Any]:
    """Gives the schema's module to read a file with; what it reads inside is counted.

    Args:
        data: the file's bytes.
        path: for errors.

    Raises:
        InputError: the file is cut short or corrupt, or its tables share their places.
    """
    token = _left.set([_MOST_TIMES * len(data) + _MOST_MORE])
    try:
        yield _counting_schema()
    except (InputError, MemoryError):
        raise
    except _SharedError as error:
        raise InputError(
            f"{path} is corrupt or made to fill the memory: its tables share their places and "
            f"unfold to more than {_MOST_TIMES} times its size; export or download it again"
        ) from error
    except Exception as error:
        # The generated code checks nothing: a wrong offset surfaces as whatever it runs into
        # (struct.error, IndexError, TypeError, ...).
        raise header.corrupt(path, error) from error
    finally:
        _left.reset(token)


def _count(size_bytes: int) -> None:
    """Counts bytes that are read, of the file that is being parsed; refuses more than its share."""
    left = _left.get()
    if left is not None:
        left[0] -= size_bytes
        if left[0] < 0:
            raise _SharedError


def _counting_schema() -> Any:
    """Returns the schema's generated module, whose tables count what is read of them."""
    from ai_edge_litert import schema_py_generated as schema

    module: Any = schema
    if not isinstance(module.flatbuffers, types.SimpleNamespace):
        import flatbuffers.table

        tables = types.SimpleNamespace(Table=_counting_table(flatbuffers.table.Table))
        # In this module alone: others read flatbuffers, too.
        module.flatbuffers = types.SimpleNamespace(**{**vars(flatbuffers), "table": tables})
    return module


def _counting_table(table: Any) -> Any:
    """Makes a class of tables that counts, of the library's."""

    class CountingTable(table):
        """Reads a table's fields and counts the bytes that they lead to."""

        __slots__ = ()

        def __init__(self, buf: bytes, pos: int) -> None:
            _count(_LOOK_UP_BYTES)
            super().__init__(buf, pos)

        def String(self, off: int) -> bytes:  # noqa: N802
            """Returns a string."""
            text: bytes = super().String(off)
            _count(len(text))
            return text

        def GetVectorAsNumpy(self, flags: Any, off: int) -> Any:  # noqa: N802
            """Returns a vector of numbers."""
            vector = super().GetVectorAsNumpy(flags, off)
            _count(vector.nbytes)
            return vector

    return CountingTable
