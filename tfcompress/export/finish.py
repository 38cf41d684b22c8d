"""Completes what ai-edge-quantizer leaves undone: op versions, activations, constants."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfcompress.tflite import parser
from tfcompress.tflite.dataflow import producers_and_consumers
from tfcompress.tflite.op_versions import raise_versions
from tfcompress.tflite.packing import pack
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
    - What a split in integers gives to nobody is of integers, too, as runtimes ask for.
    - Constants come into the flatbuffer. The quantizer puts those of larger files behind it, where
      runtimes before TensorFlow 2.15 and most tools don't look.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    model: Any = parser.unpack(data, path)
    if len(data) <= _LARGEST:
        _inline(model, data)
    ops = names(schema.BuiltinOperator)
    for graph in model.subgraphs:
        _join(graph, model, ops)
        _complete_outputs(graph)
    raise_versions(model)
    path.write_bytes(pack(model))


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


def _complete_outputs(graph: Any) -> None:
    """Gives unread outputs, which the quantizer forgets, the type of those beside them."""
    from ai_edge_litert import schema_py_generated as schema

    inputs = (op.inputs if op.inputs is not None else () for op in graph.operators)
    read = {int(tensor) for tensors in inputs for tensor in tensors}
    read.update(map(int, graph.outputs))
    for op in graph.operators:
        if op.outputs is None or len(op.outputs) < 2:
            continue
        outputs = [graph.tensors[int(index)] for index in op.outputs]
        integers = [x for x in outputs if x.type == schema.TensorType.INT8]
        for index, tensor in zip(op.outputs, outputs, strict=True):
            if integers and tensor.type == schema.TensorType.FLOAT32 and int(index) not in read:
                tensor.type = integers[0].type
                tensor.quantization = copy.copy(integers[0].quantization)
