"""Binary weights as bits: what stands in the file, and what it computes."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.export.conftest import binary_net
from tests.export.handmade import Conv, Dense, Depthwise, Reshape, binary, normal, opened, save
from tests.export.storages.limits import EXACT
from tests.kernels import float_files
from tfcompress.export.storages import one_bit
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor, edit
from tfcompress.tflite.weighted_ops import one_magnitude

# What the contract holds the storage to.
LIMITS = {"usual": EXACT, "binary": EXACT}
NET = binary_net


def written(path, shape, *layers):
    """The file's outputs before and after, and why layers were left."""
    save(path, shape, *layers)
    x = normal((3 * shape[0], *shape[1:]), 7)
    right, kept = LiteModel(path).predict(x), {}
    edit(path, lambda editor: kept.update(one_bit.write_bits(editor)))
    return right, LiteModel(path).predict(x), kept


def words(path):
    """The 16-bit constants of a file."""
    model = opened(path)
    kinds = [(t, model.buffers[t.buffer].data) for t in model.subgraphs[0].tensors]
    found = [data.view(np.int16) for t, data in kinds if data is not None and t.type == 7]
    return [one for one in found if one.tolist() != [0, 1]]  # What the table's bits become.


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Dense(binary((7, 45)), normal(7, 1), "relu"), (1, 45)),  # 21 words, nothing over.
        (Dense(binary((7, 44)), normal(7, 1)), (1, 44)),
        (Dense(binary((1, 1))), (1, 1)),
        (Dense(binary((4, 10)), normal(4, 1)), (1, 6, 10)),
        (Conv(binary((5, 3, 3, 4)), normal(5, 1), (2, 1), activation="relu6"), (1, 7, 6, 4)),
        (Conv(binary((5, 3, 2, 5)), None, padding="valid"), (1, 7, 6, 5)),
        (Conv(binary((6, 1, 1, 5)), normal(6, 1), (2, 2)), (1, 5, 5, 5)),
    ],
)
def test_computes_what_the_floats_do(tmp_path, layer, shape):
    path = tmp_path / "m.tflite"
    right, got, kept = written(path, shape, layer)
    assert kept == {}
    np.testing.assert_allclose(got, right, rtol=0, atol=2e-6 * np.abs(right).max())
    # The bits, and a pair of floats a filter; a convolution's rows have words of their own.
    rows = [layer.kernel] if layer.kernel.ndim == 2 else list(np.moveaxis(layer.kernel, 1, 0))
    assert sorted(map(len, words(path))) == sorted(-(-row.size // 15) for row in rows)
    sizes = read(path).weight_bytes
    assert sizes["int16"] == 4 + 2 * sum(-(-row.size // 15) for row in rows)
    pairs = 2 * 4 * len(layer.kernel)  # Equal for all rows, so that they stand there once.
    floats = pairs + (layer.kernel.ndim == 4 or layer.bias is not None) * 4 * len(layer.kernel)
    assert floats <= sizes["float32"] <= floats + 4


def test_the_largest_word_and_the_least(tmp_path):
    """All 15-bit numbers' first and last, and a word of one bit at each place."""
    signs = np.vstack([np.ones(15), -np.ones(15), 2 * np.eye(15) - 1, 1 - 2 * np.eye(15)])
    kernel = (signs * np.linspace(0.1, 3, len(signs))[:, None]).astype(np.float32)
    path = save(tmp_path / "m.tflite", (1, 15), Dense(kernel))
    edit(path, one_bit.write_bits)
    np.testing.assert_array_equal(LiteModel(path).predict(np.eye(15, dtype=np.float32)), kernel.T)
    assert max(map(max, words(path))) == 2**15 - 1


@pytest.mark.parametrize("xnnpack", [True, False])
def test_weights_are_unpacked_once_as_the_file_is_loaded(tmp_path, xnnpack):
    """They stand there before the first run."""
    dense, conv = Dense(binary((4, 7 * 6 * 5), 1)), Conv(binary((5, 3, 3, 2), 2))
    path = save(tmp_path / "m.tflite", (1, 7, 6, 2), conv, Reshape((1, 7 * 6 * 5)), dense)
    edit(path, one_bit.write_bits)
    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    places = {details["name"]: details["index"] for details in interpreter.get_tensor_details()}
    weights = [
        op.inputs[1] for op in read(path).ops if op.name in ("BATCH_MATMUL", "FULLY_CONNECTED")
    ]
    assert not any(tensor.constant for tensor in weights)
    rows = [conv.kernel[:, row].reshape(5, -1) for row in range(3)]
    for tensor, right in zip(weights, [*rows, dense.kernel], strict=True):
        np.testing.assert_array_equal(interpreter.get_tensor(places[tensor.name]), right)


@pytest.mark.parametrize(("flat", "relu"), [(False, True), (True, False)])
def test_a_dense_layer_that_takes_signs_is_integers(tmp_path, flat, relu):
    """No sum of the float file needs rounding, so that it is the integers' to the last bit."""
    path, shape = tmp_path / "m.tflite", (1, 3, 4, 5) if flat else (1, 61)
    net = float_files.Net(1, shape)
    x = net.sign(net.x)
    if flat:
        x = net.stock("RESHAPE", [x, net.constant(np.array([1, 60], np.int32))], (1, 60))
    y = net.dense(x, 7)
    if relu:
        net.graph.operators[-1].builtinOptions.fusedActivationFunction = 1
    path.write_bytes(net.done(y))
    kernel = Editor(path).values(Editor(path).ops()[-1].inputs[1])
    images = float_files.image(np.random.default_rng(2), (5, *shape[1:]))
    right = LiteModel(path).predict(images)
    assert (right == 0).any() == relu
    edit(path, one_bit.write_bits)
    np.testing.assert_array_equal(LiteModel(path).predict(images), right)
    op = next(op for op in read(path).ops if op.name == "FULLY_CONNECTED")
    assert (op.inputs[1].dtype, op.inputs[1].constant) == ("int8", False)
    # They, too, stand there before the first run.
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (weights,) = (
        interpreter.get_tensor(details["index"])
        for details in interpreter.get_tensor_details()
        if details["dtype"] == np.int8 and tuple(details["shape"]) == kernel.shape
    )
    np.testing.assert_array_equal(weights, np.sign(kernel))


def test_several_rows_of_signs_stay_floats(tmp_path):
    path = tmp_path / "m.tflite"
    net = float_files.Net(1, (1, 6, 11))
    y = net.dense(net.sign(net.x), 7)
    net.graph.operators[-1].builtinOptions.keepNumDims = True
    path.write_bytes(net.done(y))
    images = float_files.image(np.random.default_rng(2), (5, 6, 11))
    right = LiteModel(path).predict(images)
    edit(path, one_bit.write_bits)
    np.testing.assert_array_equal(LiteModel(path).predict(images), right)
    assert read(path).op_counts()["BATCH_MATMUL"] == 1


def test_layers_without_binary_weights_stay(tmp_path):
    path = tmp_path / "m.tflite"
    off = binary((4, 3, 3, 6), 3)
    off[2, 1, 1, 1] *= 1.00001
    layers = (
        Conv(normal((6, 3, 3, 2))),
        Depthwise(binary((1, 3, 3, 6))),
        Conv(binary((6, 3, 3, 2), 1)),
        Conv(binary((6, 3, 3, 6), 2)),
        Conv(off),
        Reshape((1, 4 * 5 * 5)),
        Dense(binary((3, 4 * 5 * 5), 4)),
    )
    right, got, kept = written(path, (1, 5, 5, 2), *layers)
    several = "its weights aren't one magnitude a filter"
    assert kept == {
        "y0": several,
        "y1": "a depthwise convolution isn't a product of matrices",
        "y2": "its 3 groups would be as many products",
        "y4": several,
    }
    assert np.abs(got - right).max() <= 1e-5 * np.abs(right).max()
    counts = read(path).op_counts()
    assert (counts["CONV_2D"], counts["DEPTHWISE_CONV_2D"]) == (3, 1)
    assert (counts["BATCH_MATMUL"], counts["FULLY_CONNECTED"]) == (3, 1)


def test_one_table_for_all_layers(tmp_path):
    path = tmp_path / "m.tflite"
    layers = [Dense(binary((15, 15), seed)) for seed in range(4)]
    sizes = []
    for count in (1, 4):
        written(path, (1, 15), *layers[:count])
        assert read(path).op_counts()["MUL"] == 2
        sizes.append(path.stat().st_size)
    # 15 words, 15 pairs of floats; two GATHER and a FULLY_CONNECTED with their tensors.
    assert sizes[1] - sizes[0] < 3 * (2 * 15 + 8 * 15 + 500)


def test_a_file_without_any_stays_as_it_is(tmp_path):
    path = tmp_path / "m.tflite"
    _, _, kept = written(path, (1, 8), Dense(normal((3, 8))))
    assert list(kept) == ["y0"]
    assert read(path).op_counts() == {"FULLY_CONNECTED": 1}


@pytest.mark.parametrize(
    ("kernel", "yes"),
    [
        (binary((3, 8)), True),
        (binary((3, 2, 2, 4)) * (1 + 5e-7 * np.linspace(0, 1, 4)).astype(np.float32), True),
        (np.where(np.arange(8) == 3, 1 - 3e-6, 1.0)[None].repeat(2, 0), False),
        (np.where(np.arange(8) == 3, 0, 1.0)[None], False),  # Ternary.
        (np.zeros((2, 8)), True),
    ],
)
def test_one_magnitude(kernel, yes):
    assert one_magnitude(kernel) == yes
