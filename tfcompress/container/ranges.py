"""Finds the bytes of a `.tflite` file that are its constants."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.tflite import parser

# Shorter constants are packed with the rest: a table of their own would cost more than it saves.
SMALLEST_BYTES = 256
# Bytes of a value, by the schema's name of its type; for other types, a byte is a value.
_WIDTHS = {
    "float32": 4,
    "int32": 4,
    "uint32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "uint16": 2,
}


@dataclasses.dataclass(frozen=True)
class Constant:
    """The place of a constant in a file.

    Attributes:
        name: of a tensor with these values.
        start: its first byte in the file.
        size_bytes: its size.
        dtype: the schema's type in lower case.
    """

    name: str
    start: int
    size_bytes: int
    dtype: str

    @property
    def width(self) -> int:
        """Returns the bytes of a value, or 1 where values aren't whole numbers of bytes."""
        return _WIDTHS.get(self.dtype, 1)


def constants(data: bytes, path: str) -> list[Constant]:
    """Finds the constants of 256 bytes or more, from front to back, none within another.

    Args:
        data: the whole file, whose header was checked.
        path: for errors.

    Raises:
        InputError: the file is cut short or corrupt.
    """
    with parser.reading(data, path) as schema:
        overlapping = _constants(data, schema)
    apart: list[Constant] = []
    for constant in sorted(overlapping, key=lambda c: c.start):
        if constant.start >= (apart[-1].start + apart[-1].size_bytes if apart else 0):
            apart.append(constant)
    return apart


def _constants(data: bytes, schema: Any) -> list[Constant]:
    """Finds the constants in the file's order, each buffer once."""
    types = {
        number: name.lower()
        for name, number in vars(schema.TensorType).items()
        if isinstance(number, int)
    }
    model = schema.Model.GetRootAs(data, 0)
    used: dict[int, tuple[str, str]] = {}
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            name = (tensor.Name() or b"").decode("utf-8", "replace")
            used.setdefault(tensor.Buffer(), (name, types.get(tensor.Type(), "?")))
    constants = []
    for index, (name, dtype) in used.items():
        start, size = _place(model.Buffers(index))
        if size >= SMALLEST_BYTES and start + size <= len(data):
            constants.append(Constant(name, start, size, dtype))
    return constants


def _place(buffer: Any) -> tuple[int, int]:
    """Returns start and size of a buffer, which in a huge file stands behind the flatbuffer."""
    field = buffer._tab.Offset(4)
    if field:
        return buffer._tab.Vector(field), buffer._tab.VectorLen(field)
    return buffer.Offset(), buffer.Size()
