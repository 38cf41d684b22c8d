"""Small `.tflite` files without ops, made without TensorFlow: constants and what lies around."""

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int8": "INT8", "int32": "INT32"}


def flatbuffer(**arrays):
    """The bytes of a file that has these arrays as constants."""
    graph = schema.SubGraphT()
    graph.inputs = graph.outputs = []
    graph.operators, graph.tensors = [], []
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, []
    model.buffers = [schema.BufferT()]
    for name, array in arrays.items():
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), list(array.shape)
        tensor.type = getattr(schema.TensorType, _TYPES[array.dtype.name])
        tensor.buffer = len(model.buffers)
        graph.tensors.append(tensor)
        buffer = schema.BufferT()
        buffer.data = list(array.tobytes())
        model.buffers.append(buffer)
    model.subgraphs = [graph]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
