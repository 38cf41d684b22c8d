"""Unmodified float files of binary nets: the delegate finds the products by itself."""

import numpy as np
import pytest

from tests.kernels import float_files, op_files
from tests.kernels.float_files import Net
from tests.kernels.test_xnor_ops import chain, dense, not_rising, residual, shared, zero_padding


def taken(made):
    """What the delegates' nodes give; ours come first."""
    return [int(op["outputs"][0]) for op in made._get_ops_details() if op["op_name"] == "DELEGATE"]


@pytest.mark.parametrize("build", [chain, residual, zero_padding, shared, not_rising, dense])
def test_equal_without_and_with_the_delegate(fastest, build):
    from ai_edge_litert.interpreter import Interpreter

    net = Net(0, (1, 11, 9, 20))
    outputs, _ = build(net)
    content = net.done(*outputs)
    products = [
        int(op.outputs[0])
        for op in net.graph.operators
        if net.name(op) in ("CONV_2D", "FULLY_CONNECTED")
    ]
    stock = Interpreter(model_content=content)
    fast = op_files.interpreter(content, fastest)
    rng = np.random.default_rng(5)
    for _ in range(3):
        x = float_files.image(rng, (1, 11, 9, 20))
        for wanted, got in zip(op_files.run(stock, x), op_files.run(fast, x), strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert taken(fast)[: len(products)] == products


def test_padding_of_the_runtime_fits_a_resized_input(fastest):
    from ai_edge_litert.interpreter import Interpreter

    net = Net(1, (1, 8, 8, 5))
    content = net.done(net.conv(net.sign(net.x), 7, stride=2, padding=float_files.SAME))
    stock, fast = Interpreter(model_content=content), op_files.interpreter(content, fastest)
    for size in ((1, 8, 8, 5), (1, 9, 8, 5), (2, 5, 11, 5), (1, 8, 8, 5)):
        x = float_files.image(net.rng, size)
        np.testing.assert_array_equal(op_files.run(fast, x)[0], op_files.run(stock, x)[0])


@pytest.mark.parametrize("change", [None, "weights", "sign", "groups", "activation"])
def test_what_is_no_product_of_signs_stays(fastest, change):
    net = Net(2, (1, 6, 6, 4))
    x = net.sign(net.x)
    if change == "sign":
        x = net.stock("MUL", [x, net.constant(np.float32(2))], net.shape(x))
    y = net.conv(x, 8, activation=3 if change == "activation" else 0)
    kernel = net.graph.tensors[net.graph.operators[-1].inputs[1]]
    if change == "weights":
        values = net.model.buffers[kernel.buffer].data.view("float32").copy()
        values[3] *= 2
        net.model.buffers[kernel.buffer].data = values.view("uint8")
    if change == "groups":
        kernel.shape = [8, 3, 3, 2]
        net.model.buffers[kernel.buffer].data = net.model.buffers[kernel.buffer].data[: 8 * 18 * 4]
    from ai_edge_litert.interpreter import OpResolverType

    alone = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # No XNNPACK: every node is ours.
    made = op_files.interpreter(net.done(y), fastest, experimental_op_resolver_type=alone)
    made.allocate_tensors()
    assert taken(made) == ([y] if change is None else [])
