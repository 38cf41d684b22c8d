"""Cuts a `.tflite` file off behind a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfcompress.tflite import parser
from tfcompress.tflite.packing import pack


def write_part(path: Path, tensor: int, part: Path) -> None:
    """Writes a file that computes one tensor of another, and nothing that it doesn't need.

    It takes the same inputs. Constants stay, also those that no op reads.

    Args:
        path: of the other file.
        tensor: its number in the main graph; some op's output.
        part: of the file to write.
    """
    model: Any = parser.unpack(path.read_bytes(), path)
    graph = model.subgraphs[0]
    needed, kept = {tensor}, []
    for op in reversed(graph.operators):
        if needed.intersection(map(int, op.outputs)):
            kept.append(op)
            needed.update(map(int, op.inputs))
    graph.operators, graph.outputs = kept[::-1], [tensor]
    model.signatureDefs = None
    part.write_bytes(pack(model))
