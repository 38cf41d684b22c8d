"""Files that lie: each is an error of the interpreter, in one line, and never a crash."""

import dataclasses

import numpy as np
import pytest

from tests.kernels import op_files
from tests.kernels.op_files import BYTE_CONV, CONV, DENSE, POOL, Case, Writer

GOOD = Case((1, 5, 5), 40, 33)


def file(
    *,
    name=CONV,
    options=None,
    x=("float32", (1, 5, 5, 40)),
    weights=None,
    scale=33,
    threshold=None,
    output=("float32", (1, 5, 5, 33)),
    grid=(0.1, 0),
    constant_scale=True,
    residual=None,
):
    """A file of one op, right unless it is told otherwise."""
    writer = Writer()
    size = -(-33 * 9 * 40 // 8)
    values = np.zeros(size, "uint8") if weights is None else weights
    inputs = [writer.input(x[1], x[0], *(grid if x[0] == "int8" else ()))]
    inputs.append(writer.constant(values))
    one = np.ones(scale, "float32")
    inputs.append(writer.constant(one) if constant_scale else writer.input(one.shape))
    inputs.append(writer.constant(np.ones(33, "float32")))
    inputs.append(writer.constant(threshold))
    inputs += [-1, -1]
    if residual:
        inputs.append(writer.input(*residual))
    y = writer.output(output[1], output[0], *(grid if output[0] == "int8" else ()))
    writer.op(name, GOOD.options() if options is None else options, inputs, [y])
    return writer.bytes()


def changed(index, value):
    """Right options but for one field: 0 and 1 are the magic number and the version."""
    values = np.frombuffer(GOOD.options(), "<i4").copy()
    values[index] = value
    return values.tobytes()


def test_the_file_is_right_unless_told_otherwise(fastest):
    made = op_files.interpreter(file(), fastest)
    assert op_files.run(made, np.ones((1, 5, 5, 40), "float32"))[0].shape == (1, 5, 5, 33)


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": b""},
        {"options": GOOD.options()[:-4]},
        {"options": GOOD.options() + b"\0\0\0\0"},
        {"options": changed(0, 1)},
        {"options": changed(1, 2)},
        *({"options": changed(i, v)} for i in range(2, 17) for v in (-1, 2**31 - 1)),
        *({"options": changed(i, 0)} for i in range(2, 10)),
        {"options": changed(2, 41)},
        {"options": changed(3, 34)},
        *({"options": changed(i, 3)} for i in range(10, 14)),  # a pad as large as the kernel
        {"options": changed(8, 9)},  # a dilation that needs a larger image
        {"x": ("float32", (1, 5, 5, 39))},
        {"x": ("float32", (5, 5, 40))},
        {"x": ("float32", (40,))},
        {"x": ("int32", (1, 5, 5, 40))},
        {"x": ("uint8", (1, 5, 5, 40))},
        {"x": ("float32", (1, 0, 5, 40))},
        {"x": ("int8", (1, 5, 5, 40)), "grid": (0.0, 0)},
        {"x": ("int8", (1, 5, 5, 40)), "grid": (float("nan"), 0)},
        {"x": ("int8", (1, 5, 5, 40)), "grid": (0.1, 4000)},
        {"weights": np.zeros(3, "uint8")},
        {"weights": np.zeros(33 * 9 * 40, "uint8")},
        {"weights": np.zeros(-(-33 * 9 * 40 // 8), "int8")},
        {"scale": 32},
        {"scale": 64},
        {"constant_scale": False},
        {"output": ("int32", (1, 5, 5, 2))},  # bits without thresholds
        {"output": ("uint8", (1, 5, 5, 33))},
        {"output": ("int8", (1, 5, 5, 33)), "grid": (-1.0, 0)},
        {"residual": ((1, 5, 5, 32), "float32")},
        {"residual": ((1, 5, 4, 33), "float32")},
        {"residual": ((1, 5, 5, 33), "int32")},
        {"name": DENSE},
        {"name": POOL},
    ],
)
def test_wrong_files(fastest, wrong):
    with pytest.raises(RuntimeError, match="tfcompress: TfcXnor"):
        op_files.interpreter(file(**wrong), fastest).allocate_tensors()


def file_of_levels(
    *,
    x=("int32", (1, 5, 5, 4)),
    output=("int32", (1, 5, 5, 4)),
    thresholds=(3, 33),
    levels=3,
    name=CONV,
    **options,
):
    """A file of one op with values of 2 bits, right unless it is told otherwise."""
    writer = Writer()
    inputs = [writer.input(x[1], x[0], *((0.1, 0) if x[0] == "int8" else ()))]
    inputs.append(writer.constant(np.zeros(-(-33 * 9 * 40 // 8), "uint8")))
    inputs += [-1, -1, writer.constant(np.zeros(thresholds, "int32")), -1, -1, -1, -1, -1]
    inputs.append(writer.constant(np.arange(levels, dtype="float32")))
    bits = {"pad_value": 0, "in_bits": 2, "out_bits": 2, **options}
    case = dataclasses.replace(GOOD, **bits)
    writer.op(name, case.options(), inputs, [writer.output(output[1], output[0])])
    return writer.bytes()


def test_the_file_of_levels_is_right_unless_told_otherwise(fastest):
    for x in (np.zeros((1, 5, 5, 4), "int32"), np.ones((1, 5, 5, 40), "float32")):
        made = op_files.interpreter(file_of_levels(x=(str(x.dtype), x.shape)), fastest)
        assert op_files.run(made, x)[0].shape == (1, 5, 5, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"in_bits": bits} for bits in (-1, 0, 3, 2**31 - 1)),
        *({"out_bits": bits} for bits in (-1, 0, 3)),
        {"pad_value": 1},
        {"x": ("int32", (1, 5, 5, 2))},
        {"x": ("int8", (1, 5, 5, 40))},
        {"thresholds": (33,)},
        {"thresholds": (4, 33)},
        {"levels": 2},
        {"x": ("float32", (1, 5, 5, 40)), "levels": 0},
        {"output": ("float32", (1, 5, 5, 33))},
        {"out_bits": 1},  # three times as many thresholds as it takes
        {"name": POOL},
        {"name": DENSE},
        {"name": BYTE_CONV, "x": ("uint8", (1, 5, 5, 40))},
    ],
)
def test_wrong_files_of_levels(fastest, wrong):
    with pytest.raises(RuntimeError, match="tfcompress: TfcXnor"):
        op_files.interpreter(file_of_levels(**wrong), fastest).allocate_tensors()


def test_a_size_that_only_a_resized_input_has(fastest):
    case = Case((1, 5, 5), 3, 4, (3, 3), pads=(0, 0, 0, 0))
    writer = Writer()
    inputs = [writer.input((1, 5, 5, 3)), writer.constant(np.zeros(14, "uint8"))]
    inputs += [writer.constant(np.ones(4, "float32")) for _ in range(2)]
    writer.op(CONV, case.options(), inputs, [writer.output((1, 3, 3, 4))])
    made = op_files.interpreter(writer.bytes(), fastest)
    for size in ((1, 2, 5, 3), (1, 5, 5, 4), (40000, 40000, 1, 3)):
        made.resize_tensor_input(0, size)
        with pytest.raises(RuntimeError):
            made.allocate_tensors()
    x = np.ones((2, 3, 9, 3), "float32")
    assert op_files.run(made, x)[0].shape == (2, 1, 7, 4)


def test_missing_tensors(fastest):
    writer = Writer()
    writer.op(CONV, GOOD.options(), [], [writer.output((1, 5, 5, 33))])
    with pytest.raises(RuntimeError, match="input has another type or shape"):
        op_files.interpreter(writer.bytes(), fastest).allocate_tensors()


def test_without_the_delegate_the_file_is_refused():
    from ai_edge_litert.interpreter import Interpreter

    with pytest.raises(RuntimeError, match="unresolved custom op: TfcXnorConv2D"):
        Interpreter(model_content=file()).allocate_tensors()
