"""Float files of binary nets, written by hand: what a converter gives, without one.

Weights and biases are multiples of 1/64 and inputs are signs, so that no sum needs rounding: the
stock kernels' results are exact in whatever order they add.
"""

import numpy as np

from tests.kernels import op_files

SAME, VALID = 0, 1
RELU = 1


class Net(op_files.Writer):
    """A chain of ops on one image, with branches."""

    def __init__(self, seed, shape):
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.x = self.input(shape)
        self.products = 0

    def shape(self, tensor):
        return tuple(self.graph.tensors[tensor].shape)

    def stock(self, name, inputs, shape, dtype="float32", **options):
        """An op of the runtime's; returns its output."""
        output = self.tensor(shape, dtype)
        self.op(getattr(self.schema.BuiltinOperator, name), None, inputs, [output])
        kind = {"CONV_2D": "Conv2D", "MAX_POOL_2D": "Pool2D", "PADV2": "PadV2"}.get(name)
        kind = kind or "".join(part.capitalize() for part in name.split("_"))
        self.products += name in ("CONV_2D", "FULLY_CONNECTED")
        if hasattr(self.schema, f"{kind}OptionsT"):
            made = getattr(self.schema, f"{kind}OptionsT")()
            for key, value in options.items():
                setattr(made, key, value)
            op = self.graph.operators[-1]
            op.builtinOptions = made
            op.builtinOptionsType = getattr(self.schema.BuiltinOptions, f"{kind}Options")
        return output

    def name(self, op):
        """An op's name."""
        code = self.model.operatorCodes[op.opcodeIndex].builtinCode
        return next(n for n, v in vars(self.schema.BuiltinOperator).items() if v == code)

    def numbers(self, *shape, low=-64, high=64):
        """Multiples of 1/64."""
        return (self.rng.integers(low, high + 1, shape) / 64).astype("float32")

    def sign(self, x):
        shape = self.shape(x)
        positive = self.stock("GREATER_EQUAL", [x, self.constant(np.float32(0))], shape, "bool")
        one, minus = self.constant(np.float32(1)), self.constant(np.float32(-1))
        return self.stock("SELECT_V2", [positive, one, minus], shape)

    def levels(self, x, begin=(0.5, 1.0, 2.25)):
        """Levels as the converter writes them: three comparisons, added up."""
        shape = self.shape(x)
        parts = []
        for least in begin:
            reached = self.stock(
                "GREATER_EQUAL", [x, self.constant(np.float32(least))], shape, "bool"
            )
            parts.append(self.stock("CAST", [reached], shape))
        return self.add(self.add(parts[1], parts[0]), parts[2])

    def pad(self, x, pads, value=1):
        n, h, w, c = self.shape(x)
        amounts = np.array([[0, 0], pads[:2], pads[2:], [0, 0]], "int32")
        shape = (n, h + sum(pads[:2]), w + sum(pads[2:]), c)
        inputs = [x, self.constant(amounts)]
        if value == 0:
            return self.stock("PAD", inputs, shape)
        return self.stock("PADV2", [*inputs, self.constant(np.float32(value))], shape)

    def conv(self, x, filters, size=3, stride=1, dilation=1, padding=VALID, activation=0):
        """Weights of one magnitude a filter; sizes, strides and dilations are numbers or pairs."""
        n, h, w, c = self.shape(x)
        size, stride, dilation = (
            [int(side) for side in np.broadcast_to(sides, 2)] for sides in (size, stride, dilation)
        )
        magnitude = self.numbers(filters, 1, 1, 1, low=1)
        kernel = op_files.signs(self.rng.standard_normal((filters, *size, c))) * magnitude
        out = [
            -(-(length if padding == SAME else length - (k - 1) * d) // s)
            for length, k, s, d in zip((h, w), size, stride, dilation, strict=True)
        ]
        inputs = [x, self.constant(kernel.astype("float32")), self.constant(self.numbers(filters))]
        return self.stock(
            "CONV_2D", inputs, (n, *out, filters), padding=padding, strideH=stride[0],
            strideW=stride[1], dilationHFactor=dilation[0], dilationWFactor=dilation[1],
            fusedActivationFunction=activation,
        )  # fmt: skip

    def dense(self, x, units):
        shape = self.shape(x)
        magnitude = self.numbers(units, 1, low=1)
        kernel = op_files.signs(self.rng.standard_normal((units, shape[-1]))) * magnitude
        inputs = [x, self.constant(kernel.astype("float32")), self.constant(self.numbers(units))]
        return self.stock("FULLY_CONNECTED", inputs, (*shape[:-1], units))

    def prelu(self, x, low=1):
        """Slopes of 1/2, 1/4, ...: their products are exact, too."""
        signs = np.where(self.rng.random(self.shape(x)[-1]) < 0.5, low, 1)
        slope = signs / 2.0 ** self.rng.integers(1, 4, self.shape(x)[-1])
        inputs = [x, self.constant(slope.astype("float32").reshape(1, 1, -1))]
        return self.stock("PRELU", inputs, self.shape(x))

    def norm(self, x):
        """A scale, of either sign or none, and a bias a channel."""
        channels = self.shape(x)[-1]
        scale = self.rng.choice([-2, -0.5, 0.5, 1, 4, 0], channels, p=[0.2] * 4 + [0.15, 0.05])
        x = self.stock("MUL", [x, self.constant(scale.astype("float32"))], self.shape(x))
        bias = self.constant(self.numbers(channels, low=-640, high=640))
        return self.stock("ADD", [x, bias], self.shape(x))

    def pool(self, x, size=2, stride=2, padding=VALID):
        n, h, w, c = self.shape(x)
        out = [-(-(s if padding == SAME else s - size + 1) // stride) for s in (h, w)]
        return self.stock(
            "MAX_POOL_2D", [x], (n, *out, c), padding=padding, strideH=stride, strideW=stride,
            filterHeight=size, filterWidth=size,
        )  # fmt: skip

    def add(self, x, y):
        return self.stock("ADD", [x, y], self.shape(x))

    def done(self, *outputs):
        self.graph.outputs = list(outputs)
        return self.bytes()


def image(rng, shape):
    """Multiples of 1/4, zeros among them."""
    return (rng.integers(-8, 9, shape) / 4).astype("float32")
