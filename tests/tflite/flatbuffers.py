"""Small `.tflite` files without ops, made without TensorFlow: constants and what lies around."""

import flatbuffers
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


def sharing(count, name=b"x", metadata=0):
    """A file of `count` graphs that are one, of as many tensors that are one, and so on.

    LiteRT's own verifier takes it as long as that are less than a million.
    """
    builder = flatbuffers.Builder(4096)

    def repeated(table, times=count):
        builder.StartVector(4, times, 4)
        for _ in range(times):
            builder.PrependUOffsetTRelative(table)
        return builder.EndVector()

    text = builder.CreateString(name)
    schema.VariantSubTypeStart(builder)
    kinds = repeated(schema.VariantSubTypeEnd(builder))
    schema.TensorStart(builder)
    schema.TensorAddName(builder, text)
    schema.TensorAddVariantTensors(builder, kinds)
    tensors = repeated(schema.TensorEnd(builder))
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graphs = repeated(schema.SubGraphEnd(builder))
    schema.BufferStart(builder)
    buffers = repeated(schema.BufferEnd(builder), 1)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, text)
    entries = repeated(schema.MetadataEnd(builder), metadata)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    schema.ModelAddMetadata(builder, entries)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())
