import gc

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.export.conftest import binary_net, real_images
from tfcompress import graph
from tfcompress.errors import InputError
from tfcompress.export import convert
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import FileContent, Op, Tensor, read


def tensor(name, dtype="float32", constant=False):
    return Tensor(name, dtype, (1, 4), constant, 16 if constant else 0, False)


def content(*ops):
    return FileContent("m.tflite", ops, (tensor("in"),), (), 0, (), {}, 0)


def op(name, *inputs, out, dtype="float32"):
    return Op(name, 1, inputs, (tensor(out, dtype),), 0, False, 8)


BOOL = op("GREATER_EQUAL", tensor("in"), out="bool", dtype="bool")
BITS = op("CAST", BOOL.outputs[0], out="bits")
WEIGHTS = tensor("w", constant=True)
SIGNS = {"w": np.float32([[0.5, -0.5, 0.5], [2.0, 2.0, -2.0]])}
REALS = {"w": np.float32([[0.5, -0.5, 0.25], [2.0, 2.0, -2.0]])}


def product(source, name="CONV_2D", weights=WEIGHTS):
    return op(name, source, weights, None, out="y")


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_bits_times_signs_are_quantised(name):
    of = content(BOOL, BITS, product(BITS.outputs[0], name))
    assert convert.ops_with_bits(of, SIGNS) == ["y"]


@pytest.mark.parametrize("name", ["PAD", "PADV2", "RESHAPE", "TRANSPOSE", "MAX_POOL_2D", "SLICE"])
def test_bits_stay_bits_on_the_way(name):
    moved = op(name, BITS.outputs[0], tensor("c", constant=True), out="moved")
    of = content(BOOL, BITS, moved, product(moved.outputs[0]))
    assert convert.ops_with_bits(of, SIGNS) == ["y"]


@pytest.mark.parametrize("name", ["ADD", "MUL", "AVERAGE_POOL_2D", "RELU"])
def test_other_ops_make_numbers_of_bits(name):
    moved = op(name, BITS.outputs[0], tensor("c", constant=True), out="moved")
    of = content(BOOL, BITS, moved, product(moved.outputs[0]))
    assert convert.ops_with_bits(of, SIGNS) == []
    assert convert.ops_fast_with_floats(of) == ["y"]


def test_concatenation_of_bits_and_of_bits_with_numbers():
    for other, expected in ((BITS.outputs[0], ["y"]), (tensor("in"), [])):
        joined = op("CONCATENATION", BITS.outputs[0], other, out="joined")
        of = content(BOOL, BITS, joined, product(joined.outputs[0]))
        assert convert.ops_with_bits(of, SIGNS) == expected


def test_numbers_times_signs_are_not():
    of = content(product(tensor("in")))
    assert convert.ops_with_bits(of, SIGNS) == []
    integers = op("CAST", tensor("in", "int32"), out="numbers")
    of = content(integers, product(integers.outputs[0]))
    assert convert.ops_with_bits(of, SIGNS) == []


def test_bits_times_numbers_are_not():
    of = content(BOOL, BITS, product(BITS.outputs[0]))
    assert convert.ops_with_bits(of, REALS) == []


def test_depthwise_convolutions_stay_floats_beside_others():
    slow = op("DEPTHWISE_CONV_2D", tensor("in"), WEIGHTS, None, out="slow")
    assert convert.ops_fast_with_floats(content(slow)) == ["slow"]
    of = content(slow, product(slow.outputs[0]))
    assert convert.ops_fast_with_floats(of) == ["y"]


def test_weights_that_are_computed_are_not():
    of = content(BOOL, BITS, product(BITS.outputs[0], weights=tensor("w")))
    assert convert.ops_with_bits(of, SIGNS) == []
    assert convert.ops_fast_with_floats(of) == []


def test_rounding_and_dead_filters_are_one_magnitude():
    kernel = np.float32([[0.1, -0.1, 0.1 * (1 + 1e-7)], [0, 0, 0]])
    of = content(BOOL, BITS, product(BITS.outputs[0]))
    assert convert.ops_with_bits(of, {"w": kernel}) == ["y"]
    kernel[1, 1] = 1e-30
    assert convert.ops_with_bits(of, {"w": kernel}) == []


@pytest.fixture(scope="module")
def float_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("convert") / "float.tflite"
    convert.float_file(graph.lower(binary_net(), activations="unit"), path)
    return path


def test_finds_the_binary_layers_of_a_file(float_path):
    weights = convert.float_constants(float_path)
    of = read(float_path)
    chosen = convert.ops_with_bits(of, weights)
    products = [op for op in of.ops if op.name in ("CONV_2D", "FULLY_CONNECTED")]
    # All but the first convolution and the last dense layer.
    assert chosen == [op.outputs[0].name for op in products[1:-1]]
    assert convert.ops_fast_with_floats(of) == [op.outputs[0].name for op in products]


def test_product_weights_are_those_of_the_model(float_path):
    weights = convert.float_constants(float_path)
    last = [op for op in read(float_path).ops if op.name == "FULLY_CONNECTED"][-1]
    expected = binary_net().get_layer("scores").kernel.numpy().T
    np.testing.assert_array_equal(weights[last.inputs[1].name], expected)


def test_float_file_has_a_static_batch(float_path):
    assert LiteModel(float_path).input_shape == (1, 15, 15, 3)
    assert not {"SHAPE", "STRIDED_SLICE", "PACK"} & set(read(float_path).op_counts())


def test_quantizes_the_named_ops_alone(float_path, tmp_path):
    of = read(float_path)
    chosen = convert.ops_with_bits(of, convert.float_constants(float_path))[1:2]
    path = tmp_path / "q.tflite"
    convert.quantized_file(float_path, path, dict.fromkeys(chosen, 8))
    int8 = [op for op in read(path).ops if op.macs and op.inputs[1].dtype == "int8"]
    assert [op.inputs[1].shape for op in int8] == [(12, 3, 2, 12)]  # the layer "same"
    images = real_images(10)
    expected = LiteModel(float_path).predict(images)
    np.testing.assert_allclose(LiteModel(path).predict(images), expected, atol=1e-5)


def test_quantizing_nothing_is_refused(float_path, tmp_path):
    with pytest.raises(InputError, match="no layer to quantise"):
        convert.quantized_file(float_path, tmp_path / "q.tflite", {})


def test_a_float_layer_that_happens_to_be_of_one_magnitude_stays_float(tmp_path):
    """Its inputs are numbers, which eight bits would round."""
    inputs = keras.Input((6, 6, 3))
    conv = layers.Conv2D(4, 3)
    model = keras.Model(inputs, layers.Flatten()(conv(inputs)))
    signs = np.random.default_rng(0).choice([-0.5, 0.5], (3, 3, 3, 4))
    conv.set_weights([signs, np.zeros(4)])
    path = tmp_path / "m.tflite"
    convert.float_file(model, path)
    weights = convert.float_constants(path)
    assert convert.ops_with_bits(read(path), weights) == []
    assert len(convert.ops_fast_with_floats(read(path))) == 1


@pytest.mark.parametrize("by_the_program", [False, True])
def test_a_conversion_does_not_look_for_garbage_in_all_that_is_loaded(
    tmp_path, monkeypatch, by_the_program
):
    """Objects that the program has set aside stay there."""
    aside = []
    collect = gc.collect
    monkeypatch.setattr(gc, "collect", lambda *args: aside.append(gc.get_freeze_count()))
    had_some = gc.get_freeze_count() > 0  # tests/conftest.py sees to that.
    gc.unfreeze()
    try:
        if by_the_program:
            gc.freeze()
        before = gc.get_freeze_count()
        inputs = keras.Input((4,))
        convert.float_file(keras.Model(inputs, layers.Dense(2)(inputs)), tmp_path / "m.tflite")
        assert len(aside) == 1
        assert aside[0] > 100_000
        assert (gc.get_freeze_count() > 0) == by_the_program == (before > 0)
    finally:
        monkeypatch.undo()
        collect()
        if had_some:
            gc.freeze()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Conv1D(6, 3, data_format="channels_first"), (4, 20)),
        (layers.Conv3D(7, 2, data_format="channels_first"), (3, 4, 6, 6)),
    ],
)
def test_channels_first(layer, shape, tmp_path):
    """TensorFlow's converter fails at the biases of such sequences and volumes."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    layer.bias.assign(np.arange(layer.filters, dtype="float32"))
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype("float32")
    exported = tfcompress.export(model, tmp_path / "m.tflite", representative=x)
    assert exported.parity.relative_rms < 1e-6
