"""Every rule: what is left after a cut computes what the masked whole does."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.graph.channels import masked_twin
from tfcompress.graph.channels import ChannelGraph, channel_groups
from tfcompress.layers import (
    BiclusteredConv2D,
    BinaryConv2D,
    ChannelShuffle,
    CPConv2D,
    DepthwiseSeparable,
    EffNetBlock,
    FakeQuantize,
    Fire,
    HashedDense,
    LookupConv2D,
    LowRankConv2D,
    LowRankDense,
    MinMaxQuantize,
    MonochromaticConv2D,
    NearestFill2D,
    PerforatedConv2D,
    Shift2D,
    ShuffleUnit,
    SpatialSeparableConv2D,
    TTDense,
    TuckerConv2D,
)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def conv(filters, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", **options)


def norm(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


def head(x):
    return layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def image(function, size=8):
    """A model of a 4-dimensional input, the function behind a convolution, and a classifier."""
    inputs = keras.Input((size, size, 3))
    x = norm(conv(12)(inputs))
    return keras.Model(inputs, head(conv(5)(function(x))))


def squeeze_and_excite(x):
    weights = layers.GlobalAveragePooling2D()(x)
    weights = layers.Reshape((1, 1, 12))(weights)
    weights = conv(4, 1, activation="relu")(weights)
    return layers.Multiply()([x, conv(12, 1, activation="sigmoid")(weights)])


def residual(x):
    y = norm(conv(12)(x))
    return layers.Add()([x, norm(layers.DepthwiseConv2D(3, padding="same")(y))])


def dense_block(x):
    for _ in range(3):
        x = layers.Concatenate()([x, conv(6)(norm(x))])
    return x


def spatial_attention(x):
    return x * conv(1, activation="sigmoid")(x)


def concatenated_in_space(x):
    return layers.Concatenate(axis=1)([x, conv(12)(x)])


def split_and_gate(x):
    one, two, three = ops.split(conv(18)(x), 3, axis=-1)
    return layers.Concatenate()([one * ops.sigmoid(two), three])


def uneven_split(x):
    one, two = ops.split(x, [5], axis=-1)
    return layers.Concatenate()([two, conv(4)(one)])


def sliced(x):
    y = conv(6)(x[:, :, 1:, 3:])
    return layers.Concatenate()([x[:, 1:, :-1, :7], y[:, 1:], x[:, 1:, 1:][..., 7:]])


def shuffled(x):
    return layers.DepthwiseConv2D(3)(ChannelShuffle(3)(conv(12, groups=3)(x)))


def shuffled_by_hand(x):
    x = layers.Reshape((8, 8, 3, 4))(x)
    x = layers.Permute((1, 2, 4, 3))(x)
    return layers.Reshape((8, 8, 12))(x)


def shuffled_by_ops(x):
    x = ops.reshape(x, (-1, 64, 3, 4))
    return ops.reshape(ops.swapaxes(x, 2, 3), (-1, 8, 8, 12))


def channels_to_space(x):
    return ops.reshape(x, (-1, 16, 16, 3))


def normalised_by_groups(x):
    return layers.GroupNormalization(-1)(layers.GroupNormalization(4)(x))


def normalised_by_all(x):
    x = layers.RMSNormalization()(layers.LayerNormalization()(x))
    return layers.UnitNormalization()(x + layers.LayerNormalization(axis=(1, 2))(conv(12)(x)))


def sloped(x):
    return layers.PReLU("uniform", shared_axes=(1, 2))(layers.PReLU("uniform")(x))


def shared(x):
    one = conv(12)
    return one(layers.MaxPooling2D()(one(one(x)) + x))


def operations(x):
    y = ops.where(x > 0.2, ops.exp(-x), x * np.arange(12.0, dtype="float32"))
    y = ops.maximum(y, 0.1) / (1 + ops.mean(ops.square(x), axis=(1, 2), keepdims=True))
    y = ops.flip(ops.concatenate([y, 2 - x], axis=-1), axis=-1)
    y = ops.transpose(ops.transpose(y, (0, 3, 1, 2)), (0, 2, 3, 1))
    y = ops.pad(ops.expand_dims(y, 1), ((0, 0), (0, 0), (1, 1), (0, 2), (0, 0)))
    return ops.clip(ops.squeeze(y, 1), -1, 5)


def resized(x):
    x = layers.UpSampling2D()(layers.ZeroPadding2D(1)(layers.Cropping2D(1)(x)))
    x = layers.AveragePooling2D(2, 1, "same")(layers.Dropout(0.1)(x))
    return layers.SpatialDropout2D(0.1)(layers.LeakyReLU()(layers.ELU()(x)))


def nested(x):
    inner_inputs = keras.Input((None, None, 12))
    inner = keras.Model(inner_inputs, norm(conv(12)(inner_inputs)))
    return inner(layers.MaxPooling2D()(inner(x)))


IMAGES = [
    squeeze_and_excite,
    residual,
    dense_block,
    spatial_attention,
    concatenated_in_space,
    split_and_gate,
    uneven_split,
    sliced,
    shuffled,
    shuffled_by_hand,
    shuffled_by_ops,
    channels_to_space,
    normalised_by_groups,
    sloped,
    shared,
    operations,
    resized,
    nested,
    layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"),
    layers.SeparableConv2D(7, 3, depth_multiplier=2),
    layers.Conv2DTranspose(7, 3, strides=2, activation="tanh"),
    layers.Dense(7, activation="gelu"),
    layers.Conv2D(8, 3, groups=4),
    layers.Conv2D(24, 3, groups=12, activation="relu"),
    Fire(4, 6, 5),
    DepthwiseSeparable(8, 3, depth_multiplier=2, use_bias=True),
    EffNetBlock(8),
    BinaryConv2D(8, 3, padding="same"),
    CPConv2D(8, 3, rank=4),
    BiclusteredConv2D(8, 3, rank=2),
    LookupConv2D(8, 3, rank=4, coefficients=2),
    MonochromaticConv2D(8, 3, rank=4),
    LowRankConv2D(8, 3, rank=4),
    LowRankDense(8, rank=4),
    SpatialSeparableConv2D(8, 3, rank=4),
    TuckerConv2D(8, 3, rank=(4, 4)),
    PerforatedConv2D(8, 3, rate=0.5, padding="same"),
    NearestFill2D([0, 2, 2, 5], [1, 1, 4]),
    FakeQuantize(-1.0, 2.0),
]


# Those of the first group that stay, and why.
FROZEN = {
    "spatial_attention": ["Multiply '.*' spreads the one channel over many"],
    "BinaryConv2D": ["BinaryConv2D '.*' takes them all: signs have no 0"],
}


def name_of(function):
    return getattr(function, "__name__", type(function).__name__)


def test_statistics_of_all_channels_are_of_those_left_where_a_training_follows():
    graph, _ = masked_twin.check(image(normalised_by_all), exact=False)
    stem, *_ = graph.groups.values()
    assert stem.frozen is None
    kinds = [name.rstrip("_0123456789") for name in stem.statistics]
    assert kinds == ["layer_normalization", "rms_normalization", "unit_normalization"]


def test_shuffle_units():
    """The channels of two units and of their bottlenecks, in groups."""

    def units(x):
        x = ShuffleUnit(32, 2, strides=2, group_first=False, name="first")(x)
        return ShuffleUnit(32, 2, name="second")(x)

    graph, small = masked_twin.check(image(units))
    assert [bool(group.fixed) for group in graph.groups.values()][:-1] == [False] * 4
    first, second = small.get_layer("first"), small.get_layer("second")
    assert first.filters == second.filters < 32
    assert first.bottleneck == second.bottleneck == 4


def test_all_directions_of_a_shift_lose_equally_many_channels():
    """20 channels: nine directions with two each, two that are left over in the middle."""
    inputs = keras.Input((6, 6, 3))
    x = Shift2D()(conv(20, 1, name="before")(inputs))
    model = keras.Model(inputs, head(x))
    group = next(iter(ChannelGraph(model).groups.values()))
    assert (group.size, group.fixed, group.frozen) == (4, {0}, None)
    _, small = masked_twin.check(model, {"before": [0, 2]})  # The first of all, and one left over.
    assert small.get_layer("before").filters == 10


@pytest.mark.parametrize("function", IMAGES, ids=name_of)
def test_images(function):
    if isinstance(function, layers.Layer):  # A new one, however often the test is run.
        function = type(function).from_config(function.get_config())
    graph, small = masked_twin.check(image(function))
    reasons = [group.frozen for group in graph.groups.values() if group.fixed]
    expected = [*FROZEN.get(name_of(function), []), "^an output of the model$"]
    assert len(reasons) == len(expected)
    for reason, pattern in zip(reasons, expected, strict=True):
        assert re.search(pattern, reason)
    for group in graph.groups.values():  # Half of the channels are gone, or one of two is left.
        for part in group.slices:
            if part.role == "made" and not group.fixed:
                weight = small.get_layer(part.layer).weights[part.weight]
                assert weight.shape[part.axis] < len(part.channels)


def sequence(function, size=None):
    """A model of a sequence of unknown length."""
    inputs = keras.Input((size, 6))
    x = layers.Conv1D(12, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv1D(6, 3)(function(x))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling1D()(x)))


def repeated(x):
    return layers.RepeatVector(5)(layers.GlobalAveragePooling1D()(x))


SEQUENCES = [
    layers.DepthwiseConv1D(3, depth_multiplier=2),
    layers.SeparableConv1D(7, 3),
    layers.Conv1DTranspose(7, 3, strides=2),
    layers.Conv1D(8, 3, groups=2, dilation_rate=2),
    layers.Dense(7, activation="relu"),
    ChannelShuffle(2),
    repeated,
]


@pytest.mark.parametrize("function", SEQUENCES, ids=name_of)
def test_sequences_of_unknown_length(function):
    if isinstance(function, layers.Layer):
        function = type(function).from_config(function.get_config())
    graph, _ = masked_twin.check(sequence(function))
    assert [group.frozen for group in graph.groups.values() if group.fixed] == [
        "an output of the model"
    ]


def volumes():
    inputs = keras.Input((6, 6, 6, 2))
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv3DTranspose(6, 2)(layers.MaxPooling3D()(x))
    x = layers.PReLU("uniform", shared_axes=(1, 2, 3))(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def flattened():
    inputs = keras.Input((6, 6, 3))
    x = layers.MaxPooling2D()(conv(8)(inputs))
    x = layers.Dense(10, activation="relu")(layers.Flatten()(x))
    x = layers.Reshape((5, 2))(layers.Dense(10)(x))
    x = layers.Flatten()(layers.Conv1D(4, 2)(x))
    return keras.Model(inputs, layers.Dense(3)(layers.PReLU("uniform")(x)))


def two_inputs_and_outputs():
    left, right = keras.Input((8, 8, 3)), keras.Input((6,))
    x, y = conv(8)(left), layers.Dense(8, activation="relu")(right)
    x = x * layers.Reshape((1, 1, -1))(y)
    return keras.Model([left, right], [conv(4, name="map")(x), layers.Dense(2, name="side")(y)])


def sequential():
    stem = keras.Sequential([keras.Input((8, 8, 3)), conv(8), layers.BatchNormalization()])
    return keras.Sequential([stem, layers.ReLU(), layers.Flatten(), layers.Dense(3)])


@pytest.mark.parametrize("make", [volumes, flattened, two_inputs_and_outputs, sequential])
def test_other_models(make):
    masked_twin.check(make())


UNFOLLOWED = {
    "LayerNormalization": (layers.LayerNormalization(), "statistics are those of all channels"),
    "Softmax": (layers.Softmax(), "computed of all channels together"),
    "Activation": (layers.Activation("softmax"), "'softmax' may mix channels"),
    "mean": (lambda x: x - ops.mean(x, axis=-1, keepdims=True), "Mean '.*': is computed of all"),
    "every_other": (lambda x: x[..., ::2], "GetItem '.*': takes single channels, or every n-th"),
    "matmul": (lambda x: ops.matmul(x, np.ones((12, 3), "float32")), "Matmul '.*': no rule says"),
    "HashedDense": (HashedDense(4, compression_ratio=0.5), "HashedDense '.*': the kernel's size"),
    "TTDense": (TTDense(4, rank=2), "TTDense '.*': each entry of its cores is for many"),
    "MinMaxQuantize": (MinMaxQuantize(), "MinMaxQuantize '.*': the range of its values"),
    "Scaled": (layers.Rescaling([0.1] * 12), "Rescaling '.*': scales each channel"),
    "SpectralNormalization": (layers.SpectralNormalization(conv(4)), "no rule says"),
}


@pytest.mark.parametrize("name", UNFOLLOWED)
def test_what_cannot_be_followed_stays_and_is_named(name):
    function, message = UNFOLLOWED[name]
    if isinstance(function, layers.Layer):
        function = type(function).from_config(function.get_config())
    stem = channel_groups(image(function))[0]
    assert stem.fixed == set(range(12))
    assert re.search(message, stem.frozen)


class Unknown(layers.Dense):
    """A user's layer, which may do anything with its weights."""

    def call(self, x):
        return ops.flip(super().call(x), axis=-1) * ops.cast(ops.shape(x)[-1], "float32")


def test_a_subclass_of_a_known_layer_is_unknown():
    stem = channel_groups(image(Unknown(5)))[0]
    assert re.fullmatch("Unknown '.*': no rule says what becomes of its channels", stem.frozen)
