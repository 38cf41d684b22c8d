"""Files with two signatures: built-in ops by default, tfcompress's 1-bit ops as `xnor`.

Who knows nothing of the second runs the first as ever. Nothing is imported to read which there are:
the measuring processes ask, too, and what they hold counts as the file's memory.
"""

from __future__ import annotations

import io
import mmap
import os
import shutil
import struct

from tfcompress.errors import InputError, unknown_name
from tfcompress.tflite import header
from tfcompress.tflite.tables import (
    MODEL,
    SIGNATURE,
    TENSOR_MAP,
    field,
    number,
    tables,
    text,
    there,
    vector,
)

# What converters call the only signature.
DEFAULT = "serving_default"
# The signature of 1-bit ops.
BITS = "xnor"


def graphs(path: str | os.PathLike[str]) -> dict[str, int]:
    """Returns each signature's graph by its name; none of a file that can't be read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            places = {}
            for signature in tables(data, there(data, 0), MODEL["signature_defs"]):
                name = _text(data, signature, SIGNATURE["signature_key"])
                place = field(data, signature, SIGNATURE["subgraph_index"])
                places[name] = 0 if place is None else number(data, place)
            return places
    except (OSError, ValueError, struct.error):  # Missing, empty, or corrupt.
        return {}


def io_names(
    path: str | os.PathLike[str], signature: str | None
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Returns what a signature calls its inputs and its outputs, by their tensors' numbers.

    Args:
        path: of the file.
        signature: its name; None, or one that isn't there, for the main graph's.

    Returns:
        Two dictionaries; a tensor that is two outputs has two names. Both are empty if the file
        has no such signature, or can't be read.
    """
    names: tuple[dict[int, list[str]], dict[int, list[str]]] = ({}, {})
    known = graphs(path)
    if signature not in known:
        signature = next((name for name, graph in known.items() if graph == 0), None)
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for table in tables(data, there(data, 0), MODEL["signature_defs"]):
                if _text(data, table, SIGNATURE["signature_key"]) != signature:
                    continue
                for ends, slot in zip(names, ("inputs", "outputs"), strict=True):
                    for entry in tables(data, table, SIGNATURE[slot]):
                        place = field(data, entry, TENSOR_MAP["tensor_index"])
                        tensor = 0 if place is None else number(data, place)
                        ends.setdefault(tensor, []).append(_text(data, entry, TENSOR_MAP["name"]))
    except (OSError, ValueError, struct.error):
        return {}, {}
    return names


def _text(data: mmap.mmap, table: int, slot: int) -> str:
    return text(data, table, slot).decode("utf-8", "replace")


def alone(path: str | os.PathLike[str], name: str) -> bytes:
    """Returns a file as if the graph of this signature was its only one.

    The other graphs' ops are neither prepared nor given to delegates, and their weights take no
    other memory than their bytes in the file. What is left out is cut off from the tables and
    stays in the bytes. Behind the graph of 1-bit ops stand those of its loops: they keep their
    numbers, and the first of them takes the place of each graph before.

    Args:
        path: of the file.
        name: of a signature whose ops call no other graph, but for loops beside 1-bit ops.

    Raises:
        InputError: there is no such signature, or the file is corrupt.
    """
    known = graphs(path)
    if name not in known:
        raise unknown_name(f"signature of {path}", name, known)
    buffer = io.BytesIO()  # Its bytes are given away without a copy.
    try:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, buffer)
        with buffer.getbuffer() as data:
            root = there(data, 0)
            start = vector(data, root, MODEL["subgraphs"])
            chosen = known[name]
            if start is None or chosen >= number(data, start):
                raise header.corrupt(path, f"signature {name} has no graph")
            count, slots = number(data, start), start + 4
            graph, behind = there(data, slots + 4 * chosen), chosen + 1
            if name == BITS and behind < count:
                loop = there(data, slots + 4 * behind)
                for slot in range(slots + 4, slots + 4 * behind, 4):
                    struct.pack_into("<I", data, slot, loop - slot)
            else:
                count = 1
            struct.pack_into("<II", data, start, count, graph - slots)
            signatures = vector(data, root, MODEL["signature_defs"])
            assert signatures is not None
            struct.pack_into("<I", data, signatures, 0)
    except (OSError, struct.error) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    return buffer.getvalue()
