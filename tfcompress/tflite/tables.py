"""Finds tables, their fields and vectors in a flatbuffer's bytes.

For who looks up a few fields of a file and must import nothing for it. Nothing is verified: a wrong
place surfaces as `struct.error` or as nonsense.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

# Of a TFLite model, its signatures and op codes: the fields that are looked up here.
MODEL = {"operator_codes": 1, "subgraphs": 2, "signature_defs": 7}
SIGNATURE = {"inputs": 0, "outputs": 1, "signature_key": 2, "subgraph_index": 4}
TENSOR_MAP = {"name": 0, "tensor_index": 1}
OP_CODE = {"custom_code": 1}
# More entries than any vector of these has: a file that counts more has a broken table.
_MOST = 4096
# The names that are looked up are shorter; many fields of a hostile file may share one text.
_LONGEST_TEXT = 1024


def number(data: Any, place: int, kind: str = "I") -> int:
    """Returns the number at a place, by its letter in `struct`."""
    return int(struct.unpack_from(f"<{kind}", data, place)[0])


def there(data: Any, place: int) -> int:
    """Returns where the offset at a place leads; at place 0 to the root table."""
    return place + number(data, place)


def field(data: Any, table: int, slot: int) -> int | None:
    """Returns the place of a table's field; None if the table hasn't got it."""
    fields = table - number(data, table, "i")
    entry = 4 + 2 * slot
    offset = number(data, fields + entry, "H") if entry < number(data, fields, "H") else 0
    return table + offset if offset else None


def vector(data: Any, table: int, slot: int) -> int | None:
    """Returns the place of a field's vector, which begins with its length."""
    place = field(data, table, slot)
    return None if place is None else there(data, place)


def tables(data: Any, table: int, slot: int) -> Iterator[int]:
    """Yields the places of a vector's tables; none if the field is left out."""
    start = vector(data, table, slot)
    if start is not None:
        for index in range(min(number(data, start), _MOST)):
            yield there(data, start + 4 + 4 * index)


def text(data: Any, table: int, slot: int) -> bytes:
    """Returns a string field's first bytes, 1,024 at most; empty if it is left out."""
    start = vector(data, table, slot)
    if start is None:
        return b""
    return bytes(data[start + 4 : start + 4 + min(number(data, start), _LONGEST_TEXT)])
