import re

import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.conftest import randomise
from tests.techniques.counts import ENDS
from tfcompress import graph, techniques
from tfcompress.errors import InputError
from tfcompress.layers import DepthwiseSeparable
from tfcompress.training import logits

# Depthwise, gamma, pointwise, gamma and beta.
PARAMETERS = ENDS + (9 * 8 + 8 + 8 * 16 + 2 * 16) + (9 * 16 + 16 + 16 * 16 + 2 * 16)


def transform(model, **options):
    technique = techniques.get("separable")
    return technique.transform(techniques.Candidate(model), technique.make_options(**options))


def order(model):
    return list(graph.Graph.of(model).operations)


def images(size=8, channels=3):
    return np.random.default_rng(1).normal(size=(4, size, size, channels)).astype(np.float32)


def functional(body, channels=3, size=8):
    """The model of a function of its input, with statistics as after training."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((size, size, channels), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    x = body(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return randomise(keras.Model(inputs, layers.Dense(4, name="logits")(x)))


def test_takes_bn_and_relu_with_it(small):
    candidate = transform(small())
    assert order(candidate.model) == [
        *["conv1", "conv1_bn", "conv1_relu", "pool1"],
        *["conv2", "pool2", "conv3", "flatten", "logits"],
    ]
    layer = candidate.model.get_layer("conv2")
    assert type(layer) is DepthwiseSeparable
    assert layer.activation is keras.activations.relu
    assert not layer.use_bias
    assert [(line.name, line.action) for line in candidate.layers] == [
        ("conv1", "kept"),
        ("conv2", "separated"),
        ("conv3", "separated"),
        ("logits", "kept"),
    ]
    lines = {line.name: line.reason for line in candidate.layers}
    ratio = 9 * 8 * 16 / (9 * 8 + 8 * 16)
    assert lines["conv2"] == (
        f"{ratio:.1f} times fewer weights and MACs; with conv2_bn and conv2_relu"
    )
    assert "first weighted layer" in lines["conv1"]
    assert lines["logits"] == "Dense: only Conv1D and Conv2D are replaced"


def test_options_are_the_layers(small):
    layer = transform(small()).model.get_layer("conv2")
    assert layer.depthwise_act is None
    model = transform(small(), depthwise_activation="relu", depth_multiplier=2).model
    layer = model.get_layer("conv2")
    assert layer.depthwise_activation is keras.activations.relu
    assert layer.depth_multiplier == 2


def test_other_layers_keep_their_weights(small):
    model = small()
    new = transform(model).model
    for name in ("conv1", "conv1_bn", "logits"):
        for old, now in zip(
            model.get_layer(name).get_weights(), new.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(now, old)


@pytest.mark.parametrize(
    ("activation", "absorbed"),
    [
        (lambda: layers.ReLU(name="act"), True),
        (lambda: layers.Activation("relu", name="act"), True),
        (lambda: layers.ReLU(max_value=6.0, name="act"), False),
        (lambda: layers.LeakyReLU(name="act"), False),
        (lambda: layers.Activation("sigmoid", name="act"), False),
    ],
)
def test_only_a_plain_relu_is_absorbed(activation, absorbed):
    def body(x):
        x = layers.BatchNormalization(name="bn")(layers.Conv2D(8, 3, name="conv")(x))
        return activation()(x)

    model = transform(functional(body)).model
    names = order(model)
    assert "bn" not in names
    assert ("act" not in names) is absorbed
    kept = keras.activations.relu if absorbed else keras.activations.linear
    assert model.get_layer("conv").activation is kept


def test_activation_of_the_layer_itself_and_geometry_stay():
    def body(x):
        x = layers.Conv2D(12, (3, 2), strides=2, padding="same", activation="tanh", name="a")(x)
        return layers.Conv2D(12, 3, dilation_rate=(1, 2), padding="same", name="b")(x)

    model = transform(functional(body), depth_multiplier=2).model
    first, second = model.get_layer("a"), model.get_layer("b")
    assert first.activation is keras.activations.tanh
    assert (first.kernel_size, first.strides, first.padding) == ((3, 2), (2, 2), "same")
    assert first.depth_multiplier == 2
    assert second.dilation_rate == (1, 2)
    # Nothing stood behind the second one, as in a branch that is added to another.
    assert second.activation is keras.activations.linear


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: layers.Conv2D(8, 1, name="odd"), "1x1: pointwise already"),
        (lambda: layers.Conv2D(8, 3, groups=2, name="odd"), "2 groups: partly depthwise"),
        (lambda: layers.Conv2D(8, 3, strides=(1, 2), name="odd"), r"unequal strides \(1, 2\)"),
        (lambda: layers.DepthwiseConv2D(3, name="odd"), "DepthwiseConv2D: only Conv1D and Conv2D"),
        (
            lambda: layers.Conv2D(1, 3, name="odd"),
            "too small to gain: 80 weights as separable convolution, 72 as it is",
        ),
    ],
)
def test_what_is_left_alone_is_named(layer, reason):
    def body(x):
        return layers.Conv2D(8, 3, name="conv")(layer()(x))

    candidate = transform(functional(body))
    (line,) = (line for line in candidate.layers if line.name == "odd")
    assert line.action == "kept"
    assert type(candidate.model.get_layer("odd")).__name__ == line.kind
    assert re.match(reason, line.reason)


def test_shared_layers_are_left_alone():
    def body(x):
        shared = layers.Conv2D(8, 3, padding="same", name="shared")
        return layers.Conv2D(8, 3, name="conv")(shared(shared(x)))

    lines = {line.name: line.reason for line in transform(functional(body)).layers}
    assert lines["shared"].startswith("shared: called 2 times")


def test_a_residual_branch():
    def body(x):
        y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x)))
        y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="end")(y))
        return layers.ReLU(name="sum_relu")(layers.Add()([x, y]))

    model = transform(functional(body)).model
    assert model.get_layer("end").activation is keras.activations.linear
    assert "sum_relu" in order(model)
    assert np.isfinite(logits(model, images())).all()


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("bn", [True, False])
def test_kernels_of_low_rank_are_factorised_without_loss(bn, use_bias):
    """With no activation between the parts, and kernels of rank 2 in each channel."""

    def body(x):
        for name in ("a", "b"):
            x = layers.Conv2D(16, 3, padding="same", use_bias=use_bias, name=name)(x)
            if bn:
                x = layers.BatchNormalization(epsilon=0.01)(x)
            x = layers.ReLU()(x)
        return x

    model = functional(body)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        kernel = model.get_layer(name).kernel
        height, width, channels, filters = kernel.shape
        left = rng.normal(size=(height, width, channels, 1, 2))
        kernel.assign((left * rng.normal(size=(channels, filters, 2))).sum(-1))
    options = {"init": "factorise", "depthwise_activation": "linear", "depth_multiplier": 2}
    candidate = transform(model, **options)
    assert [line.action for line in candidate.layers] == ["kept", "separated", "separated", "kept"]
    expected = logits(model, images())
    scale = np.abs(expected).max()
    np.testing.assert_allclose(logits(candidate.model, images()), expected, atol=1e-5 * scale)


def test_factorised_start_is_nearer_than_scratch(small):
    model = small()
    x = images(16)

    def error(**options):
        new = transform(model, depthwise_activation="linear", **options).model
        return np.abs(logits(new, x) - logits(model, x)).mean()

    assert error(init="factorise", depth_multiplier=4) < 0.7 * error(init="scratch")


def test_nothing_to_replace_is_refused():
    def body(x):
        return layers.Conv2D(8, 1, name="conv")(x)

    with pytest.raises(InputError, match=r"no layer .* can be made separable \(first: .*conv: 1x1"):
        transform(functional(body))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"init": "svd"}, "init takes one of scratch, factorise; got 'svd'"),
        ({"depth_multiplier": 0}, "depth_multiplier must be 1 or more; got 0"),
        ({"depthwise_activation": "prelu"}, "takes one of relu, linear; got 'prelu'"),
    ],
)
def test_bad_options(option, message):
    with pytest.raises(InputError, match=message):
        techniques.get("separable").make_options(**option)


def test_a_first_layer_of_many_channels_is_replaced():
    inputs = keras.Input((8, 8, 32))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="first")(inputs))
    candidate = transform(keras.Model(inputs, layers.Dense(4)(x)))
    assert type(candidate.model.get_layer("first")) is DepthwiseSeparable


@pytest.mark.parametrize("technique", ["separable", "hashed"])
def test_what_nothing_fits_is_refused_before_the_training(technique):
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(inputs))
    (step,) = techniques.make_steps(techniques.chain(technique), {}, {})
    with pytest.raises(InputError, match="no layer of model"):
        techniques.check(techniques.Candidate(keras.Model(inputs, x)), [step])
