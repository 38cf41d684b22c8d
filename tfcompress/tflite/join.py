"""Joins two files into one with two signatures: one by default, one under its own name.

Who knows nothing of the second runs the first as ever; constants that both hold stand in the file
once. `runtime.signatures` reads such files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.errors import require
from tfcompress.tflite import calls, parser
from tfcompress.tflite.packing import pack
from tfcompress.tflite.schema import names
from tfcompress.tflite.signatures import DEFAULT


def join_signatures(first: Path, second: Path, path: Path, name: str) -> None:
    """Writes a file whose main graph is the first's, and whose signature `name` is the second's.

    Args:
        first: a `.tflite`; its signature, or its graph if it has none, is the default.
        second: a `.tflite`, with the graphs of its loops.
        path: the file to write, which may be one of the two.
        name: of the second's signature.

    Raises:
        InputError: the second has graphs of another signature, or the inputs and outputs differ
            in number, type or shape.
    """
    from ai_edge_litert import schema_py_generated as schema

    model, other = (parser.unpack(p.read_bytes(), p) for p in (first, second))
    graphs, runs = len(other.subgraphs), len(calls.called(other, 0))
    require(graphs == runs, f"{second} has {graphs} graphs, of which the first runs {runs}")
    main, graph = model.subgraphs[0], other.subgraphs[0]
    for field in ("inputs", "outputs"):
        types = [_io_types(schema, g, getattr(g, field)) for g in (main, graph)]
        require(
            types[0] == types[1],
            f"two signatures need the same {field}: {first} has {', '.join(types[0]) or 'none'}, "
            f"{second} {', '.join(types[1]) or 'none'}",
        )
    tensors = [tensor for each in other.subgraphs for tensor in each.tensors]
    buffers = _buffers(model, other, {int(tensor.buffer) for tensor in tensors})
    for tensor in tensors:
        tensor.buffer = buffers[int(tensor.buffer)]
    before = len(model.subgraphs)
    for op in (op for each in other.subgraphs for op in each.operators):
        op.opcodeIndex += len(model.operatorCodes)
        calls.renumber(op, before)
    model.operatorCodes += other.operatorCodes
    graph.name = name.encode()
    model.subgraphs += other.subgraphs
    own = _signature(schema, model, main, DEFAULT)
    theirs = _signature(schema, other, graph, name)
    # Callers name inputs and outputs: both signatures have the first's names.
    for field in ("inputs", "outputs"):
        for entry, like in zip(getattr(theirs, field), getattr(own, field), strict=True):
            entry.name = like.name
    theirs.signatureKey, theirs.subgraphIndex = name.encode(), before
    model.signatureDefs = [own, theirs]
    path.write_bytes(pack(model))


def _io_types(schema: Any, graph: Any, tensors: Any) -> list[str]:
    """Returns types and shapes of a graph's inputs or outputs."""
    types = names(schema.TensorType)
    ends = [graph.tensors[int(number)] for number in tensors]
    shapes = [tuple(map(int, end.shape)) if end.shape is not None else () for end in ends]
    return [f"{types[end.type].lower()} {s}" for end, s in zip(ends, shapes, strict=True)]


def _buffers(model: Any, other: Any, wanted: set[int]) -> dict[int, int]:
    """Adds another model's constants to a model; returns the new number of each wanted one."""

    def content(buffer: Any) -> bytes:
        return b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()

    known = {content(buffer): number for number, buffer in enumerate(model.buffers)}
    known[b""] = 0
    place = {}
    for number in sorted(wanted):
        buffer = other.buffers[number]
        values = content(buffer)
        if values not in known:
            known[values] = len(model.buffers)
            model.buffers.append(buffer)
        place[number] = known[values]
    return place


def _signature(schema: Any, model: Any, graph: Any, name: str) -> Any:
    """Returns a model's only signature, made of its graph's inputs and outputs if it has none."""
    if model.signatureDefs:
        return model.signatureDefs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = name.encode(), 0
    for field in ("inputs", "outputs"):
        entries = []
        for number, tensor in enumerate(getattr(graph, field)):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = f"{field[:-1]}_{number}".encode(), int(tensor)
            entries.append(entry)
        setattr(signature, field, entries)
    return signature
