"""Small float files that are written by hand: convolutions and dense ops in a row, in milliseconds.

What they must give is plain NumPy in float64.
"""

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

ACTIVATIONS = {"": 0, "relu": 1, "relu6": 3}
_TYPES = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}


@dataclasses.dataclass(frozen=True)
class Conv:
    """A CONV_2D; `padding` is `same` or `valid`."""

    kernel: np.ndarray  # (filters, height, width, channels)
    bias: np.ndarray | None = None
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    padding: str = "same"
    activation: str = ""

    def out_shape(self, shape):
        sizes = []
        for size, taps, stride, apart in zip(
            shape[1:3], self.kernel.shape[1:3], self.strides, self.dilations, strict=True
        ):
            reach = (taps - 1) * apart + 1
            sizes.append(-(-(size if self.padding == "same" else size - reach + 1) // stride))
        return (shape[0], *sizes, len(self.kernel))


@dataclasses.dataclass(frozen=True)
class Depthwise(Conv):
    """A DEPTHWISE_CONV_2D; its kernel is (1, height, width, channels)."""

    def out_shape(self, shape):
        return (*super().out_shape(shape)[:3], shape[3])


@dataclasses.dataclass(frozen=True)
class Dense:
    """A FULLY_CONNECTED that keeps the axes before the last."""

    kernel: np.ndarray  # (units, inputs)
    bias: np.ndarray | None = None
    activation: str = ""

    def out_shape(self, shape):
        return (*shape[:-1], len(self.kernel))

    def expected(self, x):
        y = x.astype("float64") @ self.kernel.T.astype("float64")
        y = y if self.bias is None else y + self.bias
        most = {"": np.inf, "relu": np.inf, "relu6": 6}[self.activation]
        return np.clip(y, 0 if self.activation else -np.inf, most)


@dataclasses.dataclass(frozen=True)
class Reshape:
    """A RESHAPE."""

    shape: tuple[int, ...]

    def out_shape(self, shape):
        return self.shape


class _Writer:
    def __init__(self):
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"made by hand"
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name, shape, values=None):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), [int(n) for n in shape], 0
        tensor.type = _TYPES["float32" if values is None else values.dtype.name]
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def op(self, name, inputs, output, options):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        self.model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs, op.builtinOptions = inputs, [output], options
        kind = type(options).__name__.removesuffix("T")
        op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self.graph.operators.append(op)


_NAMES = {
    Conv: "CONV_2D",
    Depthwise: "DEPTHWISE_CONV_2D",
    Dense: "FULLY_CONNECTED",
    Reshape: "RESHAPE",
}


def _options(layer):
    if isinstance(layer, Reshape):
        made = schema.ReshapeOptionsT()
        made.newShape = list(layer.shape)
        return made
    if isinstance(layer, Dense):
        made = schema.FullyConnectedOptionsT()
        made.keepNumDims = True
    elif isinstance(layer, Depthwise):
        made = schema.DepthwiseConv2DOptionsT()
        made.depthMultiplier = 1
    else:
        made = schema.Conv2DOptionsT()
    if isinstance(layer, Conv):
        made.strideH, made.strideW = layer.strides
        made.dilationHFactor, made.dilationWFactor = layer.dilations
        made.padding = getattr(schema.Padding, layer.padding.upper())
    made.fusedActivationFunction = ACTIVATIONS[layer.activation]
    return made


def save(path, shape, *layers):
    """Writes layers, each behind the last; `y0`, `y1`, ... are their outputs, `w0`, ... weights."""
    writer = _Writer()
    x = writer.tensor("x", shape)
    writer.graph.inputs = [x]
    for number, layer in enumerate(layers):
        inputs = [x]
        if isinstance(layer, Reshape):
            want = np.array(layer.shape, np.int32)
            inputs.append(writer.tensor(f"s{number}", want.shape, want))
        else:
            inputs.append(writer.tensor(f"w{number}", layer.kernel.shape, layer.kernel))
            bias = layer.bias
            if bias is None and isinstance(layer, Conv):  # Which must have one.
                bias = np.zeros(layer.out_shape(shape)[3], np.float32)
            inputs.append(-1 if bias is None else writer.tensor(f"b{number}", bias.shape, bias))
        shape = layer.out_shape(shape)
        x = writer.tensor(f"y{number}", shape)
        writer.op(_NAMES[type(layer)], inputs, x, _options(layer))
    writer.graph.outputs = [x]
    return _written(path, writer.model)


def _written(path, model):
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path


def opened(path):
    """A file as the schema's objects."""
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def changed(path, change):
    """A file whose objects a function changed."""
    model = opened(path)
    change(model)
    return _written(path, model)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def binary(shape, seed=0):
    """Weights with a magnitude of their own for each filter, the first axis."""
    rng = np.random.default_rng(seed)
    signs = np.where(rng.random(shape) < 0.5, -1, 1)
    sizes = rng.uniform(0.1, 2, (shape[0],) + (1,) * (len(shape) - 1))
    return (signs * sizes).astype(np.float32)
