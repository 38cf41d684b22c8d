"""Random configurations of the convolution, each with everything that may stand around it."""

import dataclasses

import numpy as np

from tests.kernels import op_files
from tests.kernels.op_files import BYTE_CONV, CONV, Case, Writer

# Scales and zero points of inputs.
GRIDS = {"int8": (0.1, 3), "uint8": (0.1, 77)}


def random_case(rng, most_channels=700, pad_values=2, **bits):
    """A configuration whose windows fit."""
    while True:
        kernel = tuple(int(k) for k in rng.integers(1, 8, 2))
        dilations = tuple(int(d) for d in rng.choice([1, 1, 1, 2, 3], 2))
        sizes = rng.integers(1, 14, 2)
        case = Case(
            shape=(int(rng.choice([1, 1, 2, 3])), int(sizes[0]), int(sizes[1])),
            channels=int(rng.choice([rng.integers(1, 70), rng.integers(1, most_channels + 1)])),
            filters=int(rng.choice([rng.integers(1, 70), rng.integers(1, 200)])),
            kernel=kernel,
            strides=tuple(int(s) for s in rng.integers(1, 4, 2)),
            dilations=dilations,
            pads=tuple(
                min(int(p), (kernel[i // 2] - 1) * dilations[i // 2])  # less than its reach
                for i, p in enumerate(rng.choice([0, 0, 1, 2, 3, 5], 4))
            ),
            pad_value=int(rng.integers(0, pad_values)),
            activation=int(rng.integers(0, 3)),
            add_first=int(rng.integers(0, 2)),
            **bits,
        )
        if min(case.out_size()) >= 1:
            return case


@dataclasses.dataclass
class Op:
    """A configuration with its weights: signs, or bytes for inputs of bytes.

    Of inputs of 2 bits, numbers become levels at `levels`; of outputs, `threshold` has three rows.
    """

    case: Case
    rng: np.random.Generator
    of_bytes: bool = False

    def __post_init__(self):
        case, rng = self.case, self.rng
        n = case.kernel[0] * case.kernel[1] * case.channels
        count = case.filters
        self.kernel = op_files.signs(rng.standard_normal((count, *case.kernel, case.channels)))
        if self.of_bytes:
            self.kernel = rng.integers(-127, 128, self.kernel.shape).astype("int8")
            self.kernel[-1] = 127
        self.scale = (rng.standard_normal(count) / np.sqrt(n)).astype("float32")
        self.bias = rng.standard_normal(count).astype("float32")
        most = n * (1000 if self.of_bytes else 1) // 4 + 2
        rows = (3, count) if case.out_bits == 2 else (count,)
        self.threshold = np.sort(rng.integers(-most, most, rows).astype("int32"), axis=0)
        self.threshold = self.threshold if case.out_bits == 2 else rng.permutation(self.threshold)
        self.flip = op_files.signs(rng.standard_normal(count))
        if case.out_bits == 2:
            self.threshold[:, self.flip < 0] = self.threshold[::-1, self.flip < 0]
        self.levels = np.sort(rng.integers(-8, 12, 3) / 8).astype("float32")
        self.slope = rng.standard_normal(count).astype("float32") if case.activation == 2 else None
        self.post = [rng.standard_normal(count).astype("float32") for _ in range(2)]

    def input(self, kind, shape=None):
        """Values of a type, zeros of both signs and borders among them."""
        shape = (*(shape or self.case.shape), self.case.channels)
        if kind == "uint8":
            return self.rng.choice([0, 255, *range(256)], shape).astype("uint8")
        if kind == "int8":
            return self.rng.integers(-128, 128, shape).astype("int8")
        x = self.rng.standard_normal(shape).astype("float32")
        x[self.rng.random(shape) < 0.05] = 0.0
        x[self.rng.random(shape) < 0.05] = -0.0
        x[self.rng.random(shape) < 0.01] = np.nan
        if self.case.in_bits == 2:
            at_begin = self.rng.random(shape) < 0.1
            x[at_begin] = self.rng.choice(self.levels, at_begin.sum())
            return op_files.planes(self._levels_of(x)) if kind == "int32" else x
        return op_files.words(op_files.signs(x)) if kind == "int32" else x

    def _levels_of(self, x):
        """The level of each number."""
        return sum((x >= level).astype("int32") for level in self.levels)

    def _start(self, kind):
        """A file with the input, and the op's name and first two inputs."""
        writer = Writer()
        words = -(-self.case.channels // 32) * self.case.in_bits
        width = words if kind == "int32" else self.case.channels
        x = writer.input((*self.case.shape, width), kind, *GRIDS.get(kind, ()))
        weights = self.kernel if self.of_bytes else op_files.packed(self.kernel)
        return writer, BYTE_CONV if self.of_bytes else CONV, [x, writer.constant(weights)]

    def bits_file(self, kind):
        """From a type to bits by thresholds."""
        case = self.case
        writer, name, inputs = self._start(kind)
        inputs += [-1, -1, writer.constant(self.threshold)]
        inputs.append(writer.constant(op_files.words(self.flip)))
        if case.in_bits == 2:
            inputs += [-1, -1, -1, -1, writer.constant(self.levels)]
        words = -(-case.filters // 32) * case.out_bits
        y = writer.output((case.shape[0], *case.out_size(), words), "int32")
        writer.op(name, case.options(), inputs, [y])
        return writer.bytes()

    def numbers_file(self, kind, out, residual, second):
        """From a type to numbers, with or without a second operand and bits beside them."""
        case = self.case
        writer, name, inputs = self._start(kind)
        shape = (case.shape[0], *case.out_size(), case.filters)
        inputs += [
            writer.constant(self.scale),
            writer.constant(self.bias),
            -1,
            -1,
            writer.constant(self.slope),
        ]
        inputs.append(writer.input(shape, residual, *((0.05, -7) if residual == "int8" else ()))
                      if residual else -1)  # fmt: skip
        if second == "affine":
            inputs += [writer.constant(values) for values in self.post]
        if case.in_bits == 2:
            inputs += [-1] * (10 - len(inputs)) + [writer.constant(self.levels)]
        outputs = [writer.output(shape, out, *((0.02, 5) if out == "int8" else ()))]
        if second:
            outputs.append(writer.output((*shape[:-1], -(-case.filters // 32)), "int32"))
        writer.op(name, case.options(), inputs, outputs)
        return writer.bytes()

    def sums(self, x, kind):
        """The integers before everything."""
        if kind == "int32":
            x = op_files.unpacked(x, self.case.channels, self.case.in_bits)
            x = x if self.case.in_bits == 2 else 1 - 2 * x
        elif self.case.in_bits == 2:
            x = self._levels_of(x)
        elif kind == "int8":
            x = np.where(x >= 3, 1, -1)
        elif kind == "uint8":
            x = x.astype("int32") - GRIDS[kind][1]
        else:
            x = op_files.signs(x)
        case = dataclasses.replace(self.case, shape=x.shape[:3])
        return op_files.sums(case, x, self.kernel)

    def bits(self, x, kind):
        """What `bits_file` must give."""
        sums = self.sums(x, kind)
        if self.case.out_bits == 2:
            reached = [(sums >= row) ^ (self.flip < 0) for row in self.threshold]
            return op_files.planes(sum(each.astype("int32") for each in reached))
        below = (sums < self.threshold) ^ (self.flip < 0)
        return op_files.words(np.where(below, -1, 1))

    def numbers(self, x, kind, out, residual, second):
        """What `numbers_file` must give."""
        y = self.sums(x, kind).astype("float32") * self.scale + self.bias
        if residual is not None and residual.dtype == np.int8:
            residual = np.float32(0.05) * (residual.astype("float32") + np.float32(7))
        y = op_files.activated(self.case, y, self.slope, residual)
        results = [op_files.quantised(y, 0.02, 5) if out == "int8" else y]
        if second:
            y = y * self.post[0] + self.post[1] if second == "affine" else y
            results.append(op_files.words(op_files.signs(y)))
        return results


def check(number, kernel, unit="signs"):
    """One random configuration, as it is and with another input size, on one kernel.

    Args:
        number: of the configuration.
        kernel: its name.
        unit: what the inputs are: `signs`, `bytes`, or `levels`.
    """
    rng = np.random.default_rng([number, 77])
    bits = {"out_bits": int(rng.integers(1, 3))}
    if unit == "bytes":
        op, kind = Op(random_case(rng, 90, pad_values=1, **bits), rng, of_bytes=True), "uint8"
    elif unit == "levels":
        op = Op(random_case(rng, pad_values=1, in_bits=2, **bits), rng)
        kind = str(rng.choice(["float32", "int32"]))
    else:
        op, kind = Op(random_case(rng, **bits), rng), str(rng.choice(["float32", "int8", "int32"]))
    threads = int(rng.integers(1, 4))
    case = op.case
    larger = (case.shape[0] + 1, case.shape[1] + 3, case.shape[2] + 2)

    made = op_files.interpreter(op.bits_file(kind), kernel, threads)
    for shape in (case.shape, larger):
        x = op.input(kind, shape)
        np.testing.assert_array_equal(op_files.run(made, x)[0], op.bits(x, kind), str(case))

    op.case = case = dataclasses.replace(case, out_bits=1)
    out = str(rng.choice(["float32", "int8"]))
    residual = rng.choice([None, "float32", "int8"])
    second = rng.choice([None, "plain", "affine"])
    made = op_files.interpreter(op.numbers_file(kind, out, residual, second), kernel, threads)
    for shape in (case.shape, larger):
        x = op.input(kind, shape)
        size = dataclasses.replace(case, shape=shape).out_size()
        add = None
        if residual == "int8":
            add = rng.integers(-128, 128, (shape[0], *size, case.filters)).astype("int8")
        elif residual:
            add = rng.standard_normal((shape[0], *size, case.filters)).astype("float32")
        got = op_files.run(made, *([x] if add is None else [x, add]))
        wanted = op.numbers(x, kind, out, add, second)
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, other, str(case))
