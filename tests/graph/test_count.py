import math

import keras
import pytest
from keras import layers

from tfcompress.errors import InputError
from tfcompress.graph import clone, count, macs, parameters, summary
from tfcompress.layers import (
    BinaryConv2D,
    BinaryDense,
    CPConv2D,
    HashedConv2D,
    HashedDense,
    LowRankDense,
    TernaryWeights,
    TTConv2D,
    TTDense,
)

COUNTS = ["parameters", "logical", "MACs", "bits", "KiB"]


def one(layer, *input_shape):
    """The count of a model of one layer."""
    inputs = keras.Input(input_shape)
    (row,) = count(keras.Model(inputs, layer(inputs)))
    return row


@pytest.mark.parametrize(
    ("layer", "input_shape", "weights", "products"),
    [
        (
            lambda: layers.Conv1D(5, 3, strides=2, padding="same"),
            (9, 4),
            3 * 4 * 5 + 5,
            5 * 3 * 4 * 5,
        ),
        (lambda: layers.Conv2D(7, (3, 5)), (9, 8, 2), 3 * 5 * 2 * 7 + 7, (7 * 4) * 3 * 5 * 2 * 7),
        (
            lambda: layers.Conv2D(6, 3, groups=2, padding="same", use_bias=False),
            (5, 6, 4),
            3 * 3 * 2 * 6,
            (5 * 6) * 3 * 3 * 2 * 6,
        ),
        (
            lambda: layers.Conv2D(6, 3, dilation_rate=2),
            (9, 8, 2),
            3 * 3 * 2 * 6 + 6,
            (5 * 4) * 3 * 3 * 2 * 6,
        ),
        (
            lambda: layers.Conv2D(5, 3, data_format="channels_first"),
            (2, 9, 8),
            3 * 3 * 2 * 5 + 5,
            (7 * 6) * 3 * 3 * 2 * 5,
        ),
        (
            lambda: layers.Conv3D(2, (1, 2, 3)),
            (3, 4, 5, 6),
            1 * 2 * 3 * 6 * 2 + 2,
            (3 * 3 * 3) * 1 * 2 * 3 * 6 * 2,
        ),
        (
            lambda: layers.DepthwiseConv1D(3, depth_multiplier=2),
            (8, 4),
            3 * 4 * 2 + 8,
            6 * 3 * 4 * 2,
        ),
        (
            lambda: layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
            (9, 7, 4),
            3 * 3 * 4 * 2 + 8,
            (5 * 4) * 3 * 3 * 4 * 2,
        ),
        (
            lambda: layers.SeparableConv2D(10, 3, strides=2, padding="same", depth_multiplier=2),
            (9, 7, 4),
            3 * 3 * 4 * 2 + 8 * 10 + 10,
            (5 * 4) * (3 * 3 * 4 * 2 + 8 * 10),
        ),
        (
            lambda: layers.Conv2DTranspose(5, 3, strides=2, padding="same"),
            (4, 6, 3),
            3 * 3 * 5 * 3 + 5,
            (4 * 6) * 3 * 3 * 5 * 3,
        ),
        (lambda: layers.Dense(7), (5,), 5 * 7 + 7, 5 * 7),
        (lambda: layers.Dense(7, use_bias=False), (6, 5), 5 * 7, 6 * 5 * 7),
        (lambda: BinaryConv2D(6, 3), (5, 6, 4), 3 * 3 * 4 * 6 + 6, (3 * 4) * 3 * 3 * 4 * 6),
        (lambda: BinaryDense(7), (6, 5), 5 * 7 + 7, 6 * 5 * 7),
        (lambda: layers.BatchNormalization(), (6, 5), 5 + 5, 0),
        (lambda: layers.PReLU(shared_axes=[1]), (6, 5), 5, 0),
        (lambda: layers.MaxPooling2D(2), (6, 6, 3), 0, 0),
        (lambda: layers.Embedding(9, 4), (6,), 9 * 4, 0),
        (
            lambda: layers.LSTM(3),
            (6, 2),
            4 * (2 * 3 + 3 * 3 + 3),
            6 * 4 * (2 * 3 + 3 * 3),
        ),
        (
            lambda: layers.Bidirectional(layers.GRU(3)),
            (6, 2),
            2 * 3 * (2 * 3 + 3 * 3 + 2 * 3),
            2 * 6 * 3 * (2 * 3 + 3 * 3),
        ),
        (
            lambda: layers.RNN([layers.SimpleRNNCell(3), layers.LSTMCell(2)]),
            (6, 2),
            (2 * 3 + 3 * 3 + 3) + 4 * (3 * 2 + 2 * 2 + 2),
            6 * ((2 * 3 + 3 * 3) + 4 * (3 * 2 + 2 * 2)),
        ),
        (
            lambda: layers.ConvLSTM2D(3, 3, padding="same", use_bias=False),
            (6, 4, 5, 2),
            3 * 3 * (2 + 3) * 4 * 3,
            6 * (4 * 5) * 3 * 3 * (2 + 3) * 4 * 3,
        ),
        (lambda: layers.TimeDistributed(layers.Dense(3)), (6, 2), 2 * 3 + 3, 6 * 2 * 3),
        (lambda: TernaryWeights(layers.Conv2D(3, 2)), (5, 5, 2), 27, 4 * 4 * 24),
        (
            lambda: layers.EinsumDense("abc,cde->abde", (None, 4, 5), bias_axes="de"),
            (6, 2),
            2 * 4 * 5 + 4 * 5,
            6 * 2 * 4 * 5,
        ),
        (
            lambda: layers.EinsumDense("...bc,bcd->...bd", (6, 5)),
            (7, 6, 2),
            6 * 2 * 5,
            7 * 6 * 2 * 5,
        ),
    ],
)
def test_parameters_and_macs_of_a_layer(layer, input_shape, weights, products):
    layer = layer()
    row = one(layer, *input_shape)
    assert (row.parameters, row.macs) == (weights, products)
    assert (row.name, row.kind) == (layer.name, type(layer).__name__)


def test_bits_and_kib_of_binary_kernels():
    """A bit a weight, and 32 for each scale and bias."""
    row = one(BinaryConv2D(6, 3), 5, 6, 4)
    assert (row.bits, row.kib) == (1, (3 * 3 * 4 * 6 + 6 * 32 + 6 * 32) / 8 / 1024)
    row = one(BinaryDense(7, use_bias=False), 5)
    assert (row.bits, row.kib) == (1, (5 * 7 + 7 * 32) / 8 / 1024)
    for layer in (layers.Dense(7), BinaryDense(7, binarize_kernel=False)):
        row = one(layer, 5)
        assert (row.bits, row.kib) == (32, (5 * 7 + 7) * 32 / 8 / 1024)


@pytest.mark.parametrize(
    ("layer", "input_shape", "stored", "logical"),
    [
        (HashedDense(16, compression_ratio=1 / 8), (10,), 10 * 2 + 16, 10 * 16 + 16),
        (
            HashedDense(16, compression_ratio=1 / 8, hashing="elementwise", hash_bias=True),
            (10,),
            10 * 16 // 8 + 16 // 8,
            10 * 16 + 16,
        ),
        (
            HashedConv2D(8, 3, compression_ratio=1 / 4, use_bias=False),
            (5, 5, 2),
            9 * 2 * 2,
            9 * 2 * 8,
        ),
        (
            HashedConv2D(8, 3, compression_ratio=1 / 4, hashing="elementwise"),
            (5, 5, 2),
            9 * 2 * 8 // 4 + 8,
            9 * 2 * 8 + 8,
        ),
        (LowRankDense(6, rank=2), (4, 10), 2 * (10 + 6) + 6, 10 * 6 + 6),
        (TTDense(6, 2, (2, 5), (2, 3)), (10,), 2 * 2 * 2 + 2 * 5 * 3 + 6, 10 * 6 + 6),
        (CPConv2D(6, 3, rank=2), (5, 5, 4), 2 * (4 + 3 + 3 + 6) + 6, 9 * 4 * 6 + 6),
        (TTConv2D(6, 3, 2, use_bias=False), (5, 5, 4), 9 * 2 + 2 * 4 * 2 + 2 * 6, 9 * 4 * 6),
        (BinaryDense(6), (10,), 10 * 6 + 6, 10 * 6 + 6),
        (layers.TimeDistributed(LowRankDense(6, 2)), (4, 10), 2 * 16 + 6, 10 * 6 + 6),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_logical_parameters_are_the_stock_layers(layer, input_shape, stored, logical):
    row = one(layer, *input_shape)
    assert (row.parameters, row.logical_parameters) == (stored, logical)


def small():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="act")(x) * 2
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def test_a_model_is_the_sum_of_its_layers():
    model = small()
    rows = count(model)
    assert [row.name for row in rows] == ["conv", "bn", "act", "pool", "head"]
    assert [row.output_shape for row in rows] == [
        (None, 6, 6, 4),
        (None, 6, 6, 4),
        (None, 6, 6, 4),
        (None, 4),
        (None, 2),
    ]
    assert parameters(model) == (3 * 3 * 3 * 4 + 4) + (4 + 4) + (4 * 2 + 2)
    assert macs(model) == 6 * 6 * 3 * 3 * 3 * 4 + 4 * 2


def test_counting_leaves_no_trace_in_the_model():
    model = small()
    calls = [len(layer._inbound_nodes) for layer in model.layers]
    count(model)
    assert [len(layer._inbound_nodes) for layer in model.layers] == calls


@pytest.mark.parametrize("copy", [lambda model: model, clone])
def test_frozen_layers_are_counted(copy):
    model = small()
    expected = parameters(model)
    model.trainable = False
    assert model.trainable_weights == []
    assert parameters(copy(model)) == expected


def test_a_shared_layers_parameters_count_once_and_its_macs_at_each_call():
    inputs = keras.Input((6,))
    dense = layers.Dense(6, name="twice")
    model = keras.Model(inputs, dense(dense(inputs)))
    rows = count(model)
    assert [(row.parameters, row.macs) for row in rows] == [(42, 36), (0, 36)]
    assert [row.logical_parameters for row in rows] == [42, 0]
    assert (parameters(model), macs(model)) == (6 * 6 + 6, 2 * 6 * 6)


def test_nested_models_are_counted_with_the_shapes_of_their_calls():
    block = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 1, name="conv")])
    small_image, large_image = keras.Input((4, 4, 3)), keras.Input((5, 6, 3))
    model = keras.Model([small_image, large_image], [block(small_image), block(large_image)])
    assert {row.output_shape for row in count(model)} == {(None, 4, 4, 2), (None, 5, 6, 2)}
    assert macs(model) == 4 * 4 * 3 * 2 + 5 * 6 * 3 * 2
    assert parameters(model) == 3 * 2 + 2


def test_dimensions_that_are_not_static_count_as_one():
    row = one(layers.Conv2D(4, 3, padding="same"), None, 8, 3)
    assert row.output_shape == (None, None, 8, 4)
    assert row.macs == 1 * 8 * 3 * 3 * 3 * 4


@pytest.mark.parametrize("use", [count, macs, parameters, summary])
def test_models_without_a_graph_are_refused(use):
    with pytest.raises(InputError, match="has no input shape"):
        use(keras.Sequential([layers.Dense(1)]))


def test_mobilenet_v2_at_224():
    model = keras.applications.MobileNetV2(weights=None)
    assert macs(model) == 300_774_272
    # Of 3,538,984 weights, 34,112 are moving statistics of batch normalisation.
    assert parameters(model) == 3_538_984 - 34_112
    assert parameters(model) == sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_summary_is_a_table_with_totals():
    x = inputs = keras.Input((8, None, 3))
    x = layers.Conv2D(40, 3, name="conv")(x)
    model = keras.Model(inputs, BinaryConv2D(8, 1, name="binary")(x))
    header, line, conv, binary, total = summary(model).splitlines()
    assert header.split() == ["layer", "kind", "output", *COUNTS]
    assert set(line) == {"-", " "}
    assert conv.split() == ["conv", "Conv2D", "6x?x40", "1,120", "1,120", "6,480", "32", "4.4"]
    assert binary.split() == ["binary", "BinaryConv2D", "6x?x8", "328", "328", "1,920", "1", "0.1"]
    assert total.split() == ["total", "1,448", "1,448", "8,400", "4.5"]


def test_summary_has_blanks_where_there_are_no_parameters():
    inputs = keras.Input((4,))
    _, _, relu, total = summary(keras.Model(inputs, layers.ReLU(name="act")(inputs))).splitlines()
    assert relu.split() == ["act", "ReLU", "4", "0", "0", "0"]
    assert total.split() == ["total", "0", "0", "0", "0.0"]


def test_summary_fits_into_120_columns():
    x = inputs = keras.Input((224, 224, 3))
    x = layers.Conv2D(512, 3, name="a_name_that_is_" + "longer_" * 5 + "than_others")(x)
    x = layers.SpatialDropout2D(0.1)(layers.Conv2D(1024, 3)(x))
    x = layers.GlobalAveragePooling2D()(x)
    lines = summary(keras.Model(inputs, HashedDense(4096, name="hashed")(x))).splitlines()
    assert max(map(len, lines)) <= 120
    (hashed,) = [line.split() for line in lines if "HashedDense" in line]
    assert hashed[3:5] == [f"{1024 * 512 + 4096:,}", f"{1024 * 4096 + 4096:,}"]


def test_macs_of_attention():
    """Four projections; each of 6 queries meets 5 keys, and takes from 5 values, in 2 heads."""
    query, value = keras.Input((6, 8)), keras.Input((5, 7))
    attention = layers.MultiHeadAttention(2, key_dim=3, value_dim=4, use_bias=False)
    (row,) = count(keras.Model([query, value], attention(query, value)))
    projections = 6 * 8 * (2 * 3) + 5 * 7 * (2 * 3) + 5 * 7 * (2 * 4) + 6 * (2 * 4) * 8
    assert row.macs == projections + 6 * 5 * 2 * 3 + 6 * 5 * 2 * 4
