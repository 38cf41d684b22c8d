"""Float files of binary nets, rewritten, against the stock runtime on the float file."""

import numpy as np
import pytest

from tests.kernels import float_files, op_files
from tests.kernels.float_files import RELU, SAME, Net
from tfcompress.errors import InputError
from tfcompress.export import xnor_ops
from tfcompress.tflite.content import read

PRODUCTS = (f"CUSTOM:{xnor_ops.CONV}", f"CUSTOM:{xnor_ops.DENSE}")


def chain(net):
    """As the technique `xnor` writes it: pools, PReLUs and norms between the products."""
    x = net.norm(net.x)
    x = net.conv(net.pad(net.sign(x), (1, 1, 1, 1)), 40)
    x = net.norm(net.prelu(net.pool(x)))
    x = net.conv(net.pad(net.sign(x), (0, 1, 0, 1)), 70, stride=2)
    x = net.norm(x)
    x = net.conv(net.pad(net.sign(x), (2, 2, 2, 2)), 33, dilation=2, activation=RELU)
    x = net.norm(net.pool(x, 3, 2, SAME))
    x = net.conv(net.sign(x), 9, size=1)
    return [x], 3


def residual(net):
    """Numbers are added up beside the signs."""
    x = net.norm(net.x)
    y = net.prelu(net.conv(net.pad(net.sign(x), (1, 1, 1, 1)), 20), low=-1)
    x = net.add(x, y)
    y = net.conv(net.pad(net.sign(x), (1, 1, 1, 1)), 20)
    x = net.prelu(net.add(y, x))
    y = net.conv(net.pad(net.sign(net.norm(x)), (1, 1, 1, 1)), 20)
    x = net.add(x, y)
    return [net.norm(x), x], 0


def zero_padding(net):
    """Signs padded with zeros, by an op or by the convolution."""
    x = net.conv(net.pad(net.sign(net.x), (1, 2, 0, 2), 0), 35)
    x = net.conv(net.sign(net.norm(x)), 20, stride=2, padding=SAME)
    x = net.conv(net.sign(net.norm(x)), 20, padding=SAME)
    return [x], 2


def oblong(net):
    """Nothing is the same down and right: neither kernels, strides, dilations nor pads."""
    x = net.conv(net.pad(net.sign(net.x), (2, 1, 1, 0)), 20, size=(3, 2), stride=(1, 2))
    x = net.conv(net.pad(net.sign(net.norm(x)), (0, 1, 3, 1)), 33, size=(2, 3), dilation=(1, 2))
    x = net.conv(net.sign(net.norm(x)), 9, size=(4, 1), stride=(2, 1), padding=SAME)
    return [x], 2


def shared(net):
    """Two products of one sign, and a sign that a stock op reads as well."""
    signs = net.sign(net.norm(net.x))
    one, two = net.conv(net.pad(signs, (1, 1, 1, 1)), 20), net.conv(signs, 20, size=1)
    return [net.add(one, two), net.add(signs, net.x)], 0


def not_rising(net):
    """A PReLU with slopes below 0 can turn a sign back: numbers in between."""
    x = net.conv(net.sign(net.x), 40)
    x = net.conv(net.sign(net.norm(net.prelu(x, low=-1))), 20)
    return [x], 0


def dense(net):
    """Dense layers behind a reshape of numbers."""
    n, h, w, c = net.shape(net.x)
    shape = net.constant(np.array([n, h * w * c], "int32"))
    x = net.stock("RESHAPE", [net.x, shape], (n, h * w * c))
    x = net.dense(net.sign(x), 50)
    x = net.dense(net.sign(net.norm(x)), 34)
    return [net.norm(net.dense(net.sign(net.norm(x)), 10))], 2


def levels(net):
    """Inputs of 2 bits, between them pools, PReLUs and norms; padded by ops and by convolutions."""
    x = net.norm(net.x)
    x = net.conv(net.levels(x), 40, padding=SAME)
    x = net.norm(net.prelu(net.pool(x)))
    x = net.conv(net.pad(net.levels(x), (0, 1, 0, 1), 0), 70, stride=2)
    x = net.conv(net.levels(net.norm(x)), 33, size=2, activation=RELU)
    x = net.norm(net.pool(x, 2, 1, SAME))
    x = net.conv(net.sign(x), 34, size=1)
    return [net.conv(net.levels(x), 9, size=1)], 4


def other_levels(net):
    """Two products of one tensor's levels are numbers in between where those begin elsewhere."""
    x = net.conv(net.levels(net.x), 20, size=1)
    one, two = (net.conv(net.levels(x, begin), 9, size=1) for begin in ((-1, 0, 1), (0, 1, 2)))
    x = net.add(one, net.norm(two))
    return [net.add(net.conv(net.levels(x), 9, size=1), net.conv(net.sign(x), 9, size=1)), x], 0


def rewritten(content, path):
    path.write_bytes(content)
    return xnor_ops.xnor_file(path, path)


@pytest.mark.parametrize(
    "build",
    [chain, residual, zero_padding, oblong, shared, not_rising, dense, levels, other_levels],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_the_float_file(fastest, tmp_path, build, seed):
    from ai_edge_litert.interpreter import Interpreter

    net = Net(seed, (1, 11, 9, 20))
    outputs, packed = build(net)
    content = net.done(*outputs)
    path = tmp_path / "xnor.tflite"
    assert rewritten(content, path) == {}
    ours = [op for op in read(path).ops if op.name in PRODUCTS]
    assert len(ours) == net.products
    assert not {"CONV_2D", "FULLY_CONNECTED"} & set(read(path).op_counts())
    (tmp_path / "float.tflite").write_bytes(content)
    assert read(path).macs == read(tmp_path / "float.tflite").macs
    assert [[t.dtype for t in op.outputs] for op in ours].count(["int32"]) == packed
    float_one = Interpreter(model_content=content)
    fast = op_files.interpreter(path.read_bytes(), fastest)
    rng = np.random.default_rng(5)
    for _ in range(4):
        x = float_files.image(rng, (1, 11, 9, 20))
        for wanted, got in zip(op_files.run(float_one, x), op_files.run(fast, x), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_nothing_to_replace(tmp_path):
    net = Net(0, (1, 6, 6, 4))
    path = tmp_path / "float.tflite"
    path.write_bytes(net.done(net.conv(net.x, 5)))
    before = path.read_bytes()
    with pytest.raises(InputError, match="its inputs aren't signs"):
        xnor_ops.xnor_file(path, path)
    assert path.read_bytes() == before


def test_the_delegate_leaves_a_float_file_to_the_runtime(fastest):
    """Else a float file that is timed beside others would no longer be what the runtime gives."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    net = Net(0, (1, 11, 9, 20))
    content = net.done(*chain(net)[0])
    no_xnnpack = {"experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
    alone = Interpreter(model_content=content, **no_xnnpack)
    beside = op_files.interpreter(content, fastest, **no_xnnpack)
    x = float_files.image(np.random.default_rng(5), (1, 11, 9, 20))
    np.testing.assert_array_equal(op_files.run(beside, x)[0], op_files.run(alone, x)[0])
    names = [[op["op_name"] for op in made._get_ops_details()] for made in (alone, beside)]
    assert names[0] == names[1]
    assert "DELEGATE" not in names[1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("weights", "none is binary"),
        ("sign", "t{}: its inputs aren't signs"),
        ("groups", "t{}: its convolution has groups"),
        ("activation", "t{}: its activation isn't a ReLU"),
        ("padding", "t{}: it is padded twice, with other values"),
        ("far padding", "t{}: it is padded by as much as its dilated kernel or more"),
        ("pad value", "t{}: its padding is neither 0 nor 1, or not of height and width"),
    ],
)
def test_what_is_no_product_of_signs_stays(tmp_path, change, why):
    net = Net(2, (1, 6, 6, 4))
    x = net.sign(net.x)
    if change == "sign":
        x = net.stock("MUL", [x, net.constant(np.float32(2))], net.shape(x))
    if change in ("padding", "pad value"):
        x = net.pad(x, (1, 1, 1, 1), value=2 if change == "pad value" else 1)
    if change == "far padding":
        x = net.pad(x, (1, 1, 1, 3))
    y = net.conv(
        x,
        8,
        activation=3 if change == "activation" else 0,
        padding=SAME if change == "padding" else float_files.VALID,
    )
    kernel = net.graph.tensors[net.graph.operators[-1].inputs[1]]
    buffer = net.model.buffers[kernel.buffer]
    if change == "weights":
        values = buffer.data.view("float32").copy()
        values[3] *= 2
        buffer.data = values.view("uint8")
    if change == "groups":
        kernel.shape = [8, 3, 3, 2]
        buffer.data = buffer.data[: 8 * 18 * 4]
    path = tmp_path / "float.tflite"
    with pytest.raises(InputError, match=f"no layer with binary.*[(]{why.format(y)}[)]$"):
        rewritten(net.done(y), path)


@pytest.mark.slow
def test_a_net_of_the_technique(fastest, tmp_path):
    keras = pytest.importorskip("keras")
    import tfcompress
    from tfcompress import models

    keras.utils.set_random_seed(0)
    net = tfcompress.transform(models.build("vgg_small", (32, 32, 3), 10), "xnor")
    rng = np.random.default_rng(1)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            ranges = [rng.normal(1, 0.5, shape), *rng.normal(0, 0.3, (2, *shape))]
            layer.set_weights([*ranges, rng.uniform(0.5, 2, shape)])
    path, small = tmp_path / "float.tflite", tmp_path / "xnor.tflite"
    tfcompress.export(net, path)
    assert rewritten(path.read_bytes(), small) == {}
    assert small.stat().st_size < path.stat().st_size / 15
    made = op_files.interpreter(small.read_bytes(), fastest)
    x = rng.standard_normal((20, 32, 32, 3)).astype("float32")
    got = np.concatenate([op_files.run(made, one[None])[0] for one in x])
    np.testing.assert_allclose(got, net(x).numpy(), atol=1e-4)
