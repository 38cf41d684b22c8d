"""Completes what ai-edge-quantizer leaves undone: op versions, activations, constants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfcompress.tflite import parser
from tfcompress.tflite.dataflow import producers_and_consumers
from tfcompress.tflite.op_versions import raise_versions
from tfcompress.tflite.schema import names, op_number

# A flatbuffer's offsets are signed 32-bit numbers.
_LARGEST = 2**31 - 2**24
# Ops of one input that the quantizer leaves float and that have integer kernels with a scale of
# their own for input and output.
UNARY = ("LEAKY_RELU", "ELU", "RELU6")


def finish(path: Path) -> None:
    """Completes a file of ai-edge-quantizer, in place.

    - Each op gets the version that first had its types. The quantizer leaves them as they were in
      the float file, so that a runtime too old for 4-bit weights would read them as something else
      instead of refusing the file.
    - An activation between conversions to floats and back becomes one integer op.
    - Constants come into the flatbuffer. The quantizer puts those of larger files behind it, where
      runtimes before TensorFlow 2.15 and most tools don't look.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    data = path.read_bytes()
    model: Any = parser.unpack(data, path)
    if len(data) <= _LARGEST:
        _inline(model, data)
    ops = names(schema.BuiltinOperator)
    for graph in model.subgraphs:
        _join(graph, model, ops)
    raise_versions(model)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


def _inline(model: Any, data: bytes) -> None:
    """Moves constants from behind the flatbuffer into it."""
    import numpy as np

    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0


def _join(graph: Any, model: Any, op_names: Mapping[int, str]) -> None:
    """Replaces DEQUANTIZE, activation, QUANTIZE by one integer activation."""
    code = {index: op_names[op_number(c)] for index, c in enumerate(model.operatorCodes)}
    ops = list(graph.operators)
    makers, readers = producers_and_consumers(ops)
    gone: list[Any] = []
    for op in ops:
        if code[op.opcodeIndex] not in UNARY:
            continue
        before = makers.get(int(op.inputs[0]))
        behind = readers.get(int(op.outputs[0]), [])
        if (
            before is None
            or code[before.opcodeIndex] != "DEQUANTIZE"
            or int(op.outputs[0]) in [int(out) for out in graph.outputs]
            or not behind
            or any(code[reader.opcodeIndex] != "QUANTIZE" for reader in behind)
        ):
            continue
        op.inputs = [int(before.inputs[0])]
        op.outputs = [int(behind[0].outputs[0])]
        for other in behind[1:]:  # The same values on the same grid.
            for reader in readers.get(int(other.outputs[0]), []):
                reader.inputs = [
                    op.outputs[0] if int(tensor) == int(other.outputs[0]) else int(tensor)
                    for tensor in reader.inputs
                ]
        gone += behind
        readers[int(before.outputs[0])].remove(op)
        if not readers[int(before.outputs[0])]:
            gone.append(before)
    graph.operators = [op for op in ops if not any(op is other for other in gone)]
