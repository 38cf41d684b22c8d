"""Makes a `.tflite` file of one matrix product, the fastest thing that the runtime does."""

from __future__ import annotations

from typing import Any


def matmul_file(dtype: str, size: int, *, seed: int = 0) -> bytes:
    """Makes a file with one FULLY_CONNECTED of `size` rows, `size` inputs and `size` units.

    Args:
        dtype: of the input, the weights and the output: `float32` or `int8`.
        size: rows, inputs and units.
        seed: of the weights.
    """
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    random = np.random.default_rng(seed)
    values = random.standard_normal((size, size)).astype(np.float32)
    if dtype == "int8":
        values = np.clip(np.rint(values * 32), -127, 127).astype(np.int8)
    weights = schema.BufferT()
    weights.data = np.frombuffer(values.tobytes(), np.uint8)
    graph = schema.SubGraphT()
    # An output scale of that size keeps most sums inside 8 bits.
    scales = (0.03, 0.03, 0.03**2 * 32 * size**0.5)
    graph.tensors = [
        _tensor(schema, name, size, dtype, buffer, scale)
        for (name, buffer), scale in zip((("x", 0), ("w", 1), ("y", 0)), scales, strict=True)
    ]
    op = schema.OperatorT()
    op.inputs, op.outputs = [0, 1, -1], [2]
    op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    op.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators, graph.inputs, graph.outputs = [op], [0], [2]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4 if dtype == "int8" else 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), weights]
    builder = flatbuffers.Builder(values.nbytes + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(schema: Any, name: str, size: int, dtype: str, buffer: int, scale: float) -> Any:
    """Makes a square matrix."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, [size, size], buffer
    tensor.type = schema.TensorType.INT8 if dtype == "int8" else schema.TensorType.FLOAT32
    if dtype == "int8":
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
    return tensor
