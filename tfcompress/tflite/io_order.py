"""Gives a file's inputs and outputs the order and the names that the model had."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfcompress.tflite import parser
from tfcompress.tflite.packing import pack

# What the converter calls them: `args_0`, `args_0_1`, ... and `output_0`, `output_1`, ...
_NUMBERED = re.compile(r"(?:args_0_|output_)(\d+)$")


def keep_order(path: Path) -> None:
    """Orders the inputs and outputs of a converter's file by the numbers in their names, in place.

    The converter keeps Keras's order in the signature's names alone: by index, which most programs
    go by, outputs come in an order of its own. A file whose order is right stays as it is.

    Args:
        path: of a `.tflite` with one signature.
    """
    model: Any = parser.unpack(path.read_bytes(), path)
    if len(model.signatureDefs or []) != 1:
        return
    (signature,), changed = model.signatureDefs, False
    graph = model.subgraphs[int(signature.subgraphIndex)]
    for field in ("inputs", "outputs"):
        entries = sorted(getattr(signature, field), key=_number)
        order = [int(entry.tensorIndex) for entry in entries]
        by_index = [int(index) for index in getattr(graph, field)]
        if sorted(order) != sorted(by_index):
            continue  # An input that nothing reads, or one tensor in two places.
        changed |= order != by_index
        setattr(signature, field, entries)
        setattr(graph, field, order)
    if changed:
        path.write_bytes(pack(model))


def write_names(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Names the inputs and outputs in a converter's file as the model does, in place.

    The names stand in the signature, where LiteRT's signature runners and `tfcompress.load` look.

    Args:
        path: of a `.tflite` with one signature, as the converter names its parts.
        inputs: in the model's order.
        outputs: likewise.
    """
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    if len(model.signatureDefs or []) != 1:
        return
    (signature,) = model.signatureDefs
    for field, names in (("inputs", inputs), ("outputs", outputs)):
        entries = getattr(signature, field)
        if len(entries) != len(names):
            continue
        for entry in entries:
            entry.name = names[_number(entry)].encode()
    path.write_bytes(pack(model))


def _number(entry: Any) -> int:
    match = _NUMBERED.match(entry.name.decode())
    return int(match[1]) if match else 0
