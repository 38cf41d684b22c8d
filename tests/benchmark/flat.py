"""Small `.tflite` files with ops, made without TensorFlow."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OPS, KINDS = schema.BuiltinOperator, schema.BuiltinOptions
TYPES = {
    "float32": "FLOAT32",
    "float16": "FLOAT16",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
}


class Net:
    """A file that grows op by op; `input` and the op methods return a tensor's number."""

    def __init__(self):
        self.tensors, self.ops, self.buffers = [], [], [schema.BufferT()]

    def tensor(self, shape, dtype="float32", values=None, signature=None):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = f"t{len(self.tensors)}", list(shape)
        tensor.type, tensor.buffer = getattr(schema.TensorType, TYPES[dtype]), 0
        if signature:
            tensor.shapeSignature = list(signature)
        if values is not None:
            tensor.buffer = len(self.buffers)
            self.buffers.append(schema.BufferT())
            self.buffers[-1].data = np.frombuffer(np.asarray(values, dtype).tobytes(), np.uint8)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def op(self, name, inputs, shape, dtype="float32", kind=0, options=None):
        """Adds an op with one output and returns that."""
        output = self.tensor(shape, dtype)
        self.ops.append((getattr(OPS, name), inputs, [output], kind, options))
        return output

    def conv(self, x, filters, size=3, groups=1, padding=0, seed=0):
        """A 2D convolution, SAME (0) or VALID (1), of a square image."""
        _, height, _, channels = self.tensors[x].shape
        random = np.random.default_rng(seed)
        kernel = random.standard_normal((filters, size, size, channels // groups)) / size
        options = schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = padding, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        side = height if padding == 0 else height - size + 1
        inputs = [
            x,
            self.tensor(kernel.shape, values=kernel),
            self.tensor((filters,), values=random.standard_normal(filters)),
        ]
        shape = (1, side, side, filters)
        return self.op("CONV_2D", inputs, shape, kind=KINDS.Conv2DOptions, options=options)

    def depthwise(self, x, height, width, seed=0):
        """A depthwise convolution, SAME."""
        _, side, _, channels = self.tensors[x].shape
        kernel = np.random.default_rng(seed).standard_normal((1, height, width, channels))
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.strideH, options.strideW, options.depthMultiplier = 0, 1, 1, 1
        options.dilationHFactor = options.dilationWFactor = 1
        inputs = [
            x,
            self.tensor(kernel.shape, values=kernel),
            self.tensor((channels,), values=np.zeros(channels)),
        ]
        return self.op(
            "DEPTHWISE_CONV_2D",
            inputs,
            (1, side, side, channels),
            kind=KINDS.DepthwiseConv2DOptions,
            options=options,
        )

    def dense(self, x, units, seed=0):
        """A dense layer, with a reshaping one before it if the input isn't flat."""
        count = int(np.prod(self.tensors[x].shape[1:]))
        if len(self.tensors[x].shape) > 2:
            x = self.op("RESHAPE", [x, self.tensor((2,), "int32", values=[1, count])], (1, count))
        weights = np.random.default_rng(seed).standard_normal((units, count)) / count**0.5
        return self.op(
            "FULLY_CONNECTED",
            [x, self.tensor(weights.shape, values=weights), -1],
            (1, units),
            kind=KINDS.FullyConnectedOptions,
            options=schema.FullyConnectedOptionsT(),
        )

    def write(self, path, inputs, outputs):
        """Writes the file and returns its path."""
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.buffers, model.subgraphs = 3, self.buffers, [graph]
        graph.tensors, graph.operators, graph.inputs, graph.outputs = (
            self.tensors, [], inputs, outputs,
        )  # fmt: skip
        model.operatorCodes = []
        for name, ins, outs, kind, options in self.ops:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = name, min(name, 127), 1
            code.customCode = "Stub" if name == OPS.CUSTOM else None
            operator = schema.OperatorT()
            operator.opcodeIndex, operator.inputs, operator.outputs = (
                len(graph.operators),
                ins,
                outs,
            )
            operator.builtinOptionsType, operator.builtinOptions = kind, options
            model.operatorCodes.append(code)
            graph.operators.append(operator)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def chain(path, *names, shape=(1, 8)):
    """A file of ops with one input and one output, one behind the other."""
    net = Net()
    x = net.tensor(shape)
    y = x
    for name in names:
        y = net.op(name, [y], shape)
    return net.write(path, [x], [y])


def grouped(path, channels, groups=4):
    """A file of one grouped convolution with so many channels a group."""
    net = Net()
    x = net.tensor((1, 8, 8, channels * groups))
    return net.write(path, [x], [net.conv(x, channels * groups, groups=groups)])
