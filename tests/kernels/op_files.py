"""Files of one custom op, written by hand, and what they must give, by plain NumPy."""

import dataclasses
import struct

import numpy as np

CONV, DENSE, POOL = "TfcXnorConv2D", "TfcXnorDense", "TfcXnorMaxPool2D"
BYTE_CONV = "TfcXnorByteConv2D"


@dataclasses.dataclass(frozen=True)
class Case:
    """One op's options and shape."""

    shape: tuple[int, int, int] = (1, 5, 5)
    channels: int = 8
    filters: int = 8
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)  # top, bottom, left, right
    pad_value: int = 1
    activation: int = 0
    add_first: int = 0
    in_bits: int = 1
    out_bits: int = 1

    def options(self) -> bytes:
        values = (self.channels, self.filters, *self.kernel, *self.strides, *self.dilations)
        values += (*self.pads, self.pad_value, self.activation, self.add_first)
        if (self.in_bits, self.out_bits) == (1, 1):
            return struct.pack("<17i", 0x4B584654, 1, *values)
        return struct.pack("<19i", 0x4B584654, 2, *values, self.in_bits, self.out_bits)

    def out_size(self) -> tuple[int, int]:
        top, bottom, left, right = self.pads
        sizes = (self.shape[1] + top + bottom, self.shape[2] + left + right)
        return tuple(
            (size - (k - 1) * d - 1) // s + 1
            for size, k, d, s in zip(sizes, self.kernel, self.dilations, self.strides, strict=True)
        )


def signs(x):
    return np.where(x >= 0, 1, -1)


def words(values):
    """Signs (..., channels) as (..., ceil(channels / 32)) 32-bit words, 1 for -1."""
    negative = np.asarray(values) < 0
    rest = -negative.shape[-1] % 32
    negative = np.pad(negative, [(0, 0)] * (negative.ndim - 1) + [(0, rest)])
    return np.packbits(negative, axis=-1, bitorder="little").view("<i4")


def planes(levels):
    """Levels (n, h, w, channels) as two planes of words behind one another, a 1 for each bit."""
    levels = np.asarray(levels)
    both = np.stack([words(-(levels & 1)), words(-(levels >> 1))])
    return both.reshape(*levels.shape[:-1], -1)


def unpacked(values, channels, bits=1):
    """The bits of `words`, 0 or 1; or the levels of `planes`."""
    values = np.ascontiguousarray(values)
    shape = (bits, *values.shape[:-1], values.shape[-1] // bits)
    rows = values.reshape(shape).view("uint8")
    found = np.unpackbits(rows, axis=-1, bitorder="little")[..., :channels].astype("int32")
    return found[0] + 2 * found[1] if bits == 2 else found[0]


def packed(kernel):
    """Weights (filters, height, width, channels) as the file has them."""
    return np.packbits(np.ravel(kernel) < 0, bitorder="little")


def sums(case, x, kernel):
    """The convolution's integers: x (n, h, w, channels) and kernel (filters, kh, kw, channels)."""
    top, bottom, left, right = case.pads
    padded = np.pad(
        x.astype("float64"), [(0, 0), (top, bottom), (left, right), (0, 0)],
        constant_values=case.pad_value,
    )  # fmt: skip
    height, width = case.out_size()
    result = np.zeros((len(x), height, width, len(kernel)))
    for i in range(case.kernel[0]):
        for j in range(case.kernel[1]):
            y0, x0 = i * case.dilations[0], j * case.dilations[1]
            part = padded[:, y0 :: case.strides[0], x0 :: case.strides[1]][:, :height, :width]
            result += part @ kernel[:, i, j].T.astype("float64")  # exact: integers below 2**53
    return result.astype("int32")


def activated(case, y, slope, residual):
    """What follows scale and bias, each step rounded to float32."""
    if residual is not None and case.add_first:
        y = y + residual
    if case.activation == 1:
        y = np.maximum(y, np.float32(0))
    if case.activation == 2:
        y = np.where(y >= 0, y, y * slope)
    if residual is not None and not case.add_first:
        y = y + residual
    return y


def quantised(y, scale, zero):
    steps = np.rint(y / np.float32(scale)) + np.float32(zero)
    return np.clip(steps, -128, 127).astype("int8")


class Writer:
    """A `.tflite` file in the making."""

    def __init__(self):
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"test"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, dtype="float32", scale=None, zero=0, data=None):
        tensor = self.schema.TensorT()
        tensor.shape = list(shape)
        tensor.type = getattr(self.schema.TensorType, dtype.upper())
        tensor.name = f"t{len(self.graph.tensors)}".encode()
        tensor.buffer = 0
        if scale is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(data, "uint8")
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def input(self, *args, **kwargs):
        self.graph.inputs.append(self.tensor(*args, **kwargs))
        return self.graph.inputs[-1]

    def output(self, *args, **kwargs):
        self.graph.outputs.append(self.tensor(*args, **kwargs))
        return self.graph.outputs[-1]

    def constant(self, values):
        if values is None:
            return -1
        values = np.ascontiguousarray(values)
        return self.tensor(values.shape, values.dtype.name, data=values.tobytes())

    def op(self, name, options, inputs, outputs):
        code = self.schema.OperatorCodeT()
        if isinstance(name, str):
            code.builtinCode = code.deprecatedBuiltinCode = self.schema.BuiltinOperator.CUSTOM
            code.customCode = name.encode()
        else:
            code.builtinCode = code.deprecatedBuiltinCode = name
        code.version = 1
        self.model.operatorCodes.append(code)
        op = self.schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = list(inputs), list(outputs)
        if options is not None:
            op.customOptions = list(options)
        self.graph.operators.append(op)

    def bytes(self):
        from ai_edge_litert.tools import flatbuffer_utils

        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))


def interpreter(content, kernel, threads=1, **kwargs):
    """A stock interpreter with our delegate."""
    from ai_edge_litert.interpreter import Interpreter

    from tfcompress import kernels

    return Interpreter(
        model_content=content,
        num_threads=threads,
        experimental_delegates=[kernels.delegate(kernel)],
        **kwargs,
    )


def run(made, *values):
    """All outputs for these inputs, which may have other sizes than the file says."""
    for details, value in zip(made.get_input_details(), values, strict=True):
        if tuple(details["shape"]) != value.shape:
            made.resize_tensor_input(details["index"], value.shape)
    made.allocate_tensors()
    for details, value in zip(made.get_input_details(), values, strict=True):
        made.set_tensor(details["index"], value)
    made.invoke()
    return [made.get_tensor(details["index"]) for details in made.get_output_details()]
