"""Gives each op of a file the version that first had its types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfcompress.tflite.schema import names, op_number
from tfcompress.tflite.versions import first_version


def raise_versions(model: Any) -> None:
    """Raises each op code's version to the highest that one of its ops needs."""
    from ai_edge_litert import schema_py_generated as schema

    ops = names(schema.BuiltinOperator)
    types = {number: name.lower() for number, name in names(schema.TensorType).items()}
    for graph in model.subgraphs:
        for op in graph.operators:
            code = model.operatorCodes[op.opcodeIndex]
            code.version = max(int(code.version), _needed(op, graph, ops[op_number(code)], types))


def _needed(op: Any, graph: Any, name: str, types: Mapping[int, str]) -> int:
    """Returns the first version that has the types of what this op reads."""
    tensors = [graph.tensors[index] if index >= 0 else None for index in op.inputs]
    kinds = [types[tensor.type] if tensor is not None else "" for tensor in tensors]
    weights = tensors[1] if len(tensors) > 1 else None
    scales = getattr(weights.quantization, "scale", None) if weights is not None else None
    return first_version(name, kinds, len(scales) if scales is not None else 0)
