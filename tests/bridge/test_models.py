"""Whole networks, and every layer of ours, in tf_keras."""

import keras
import numpy as np
import pytest
from keras import applications

import tfcompress.layers as ours
from tests.bridge import nets
from tfcompress import models
from tfcompress.bridge import BridgeError, copy_back, to_keras, to_tf_keras

SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _cleared():
    """Once: to look for garbage after each test took most of this module's time."""
    yield
    keras.utils.clear_session()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("MobileNetV2", 64),
        ("MobileNetV3Small", 64),
        pytest.param("MobileNet", 64, marks=SLOW),
        pytest.param("ResNet50", 64, marks=SLOW),
        pytest.param("VGG16", 32, marks=SLOW),
        pytest.param("DenseNet121", 64, marks=SLOW),
        pytest.param("EfficientNetB0", 64, marks=SLOW),
        pytest.param("InceptionV3", 75, marks=SLOW),
    ],
)
def test_applications(name, size):
    build = getattr(applications, name)
    model = nets.randomise(build(weights=None, input_shape=(size, size, 3), classes=10))
    copy = to_tf_keras(model)
    x = nets.draw(model)
    assert nets.apart(model, copy, x) < 1e-5
    # A softmax may hide what is different before it.
    before = model.layers[-1].input
    old = keras.Model(model.inputs, before)
    new = type(copy)(copy.inputs, copy.layers[-1].input)
    (expected,), (found,) = nets.run(old, x), nets.run(new, x)
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    assert copy.count_params() == model.count_params()


BIG = ("compact_vgg16", "mobilenet_v1", "vgg_s")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name in BIG else ()) for name in models.names()]
)
def test_builders(name):
    options = {"width": 0.25} if name in ("vgg16", "compact_vgg16") else {}
    size = 64 if name in ("squeezenet", "tiny_darknet", "mobilenet_v1") else 32
    try:
        model = models.build(name, (size, size, 3), 4, **options)
    except ValueError:
        model = models.build(name, (size, size, 3), 4)
    nets.randomise(model)
    copy = to_tf_keras(model)
    x = nets.draw(model)
    assert nets.apart(model, copy, x) < 1e-5 * max(1, np.abs(nets.run(model, x)[0]).max())
    back = copy_back(copy, model)
    assert nets.apart(model, back, x) == 0


IMAGE = (8, 8, 12)
CONVERTIBLE = {
    "BiclusteredConv2D": (IMAGE, {"filters": 6, "kernel_size": 3, "rank": 2}),
    "BinaryConnectWeights": (IMAGE, {"layer": keras.layers.Conv2D(4, 3, name="inner")}),
    "BinaryConv2D": (IMAGE, {"filters": 4, "kernel_size": 3, "binarize_inputs": False}),
    "BinaryDense": ((12,), {"units": 4, "binarize_inputs": False}),
    "CPConv2D": (IMAGE, {"filters": 6, "kernel_size": 3, "rank": 4}),
    "ChannelShuffle": (IMAGE, {"groups": 3}),
    "CodebookConv2D": (IMAGE, {"filters": 4, "kernel_size": 3}),
    "CodebookDense": ((12,), {"units": 4}),
    "DepthwiseSeparable": (IMAGE, {"filters": 6}),
    "DoReFaWeights": ((12,), {"layer": keras.layers.Dense(4, name="inner")}),
    "EffNetBlock": (IMAGE, {"filters": 8}),
    "Fire": (IMAGE, {"squeeze_filters": 4, "expand1x1_filters": 6, "expand3x3_filters": 6}),
    "HashedConv2D": (IMAGE, {"filters": 4, "kernel_size": 3, "hashing": "elementwise"}),
    "HashedDense": ((12,), {"units": 4, "hashing": "elementwise"}),
    "LearnedStepWeights": (IMAGE, {"layer": keras.layers.Conv2D(4, 3, name="inner")}),
    "LookupConv2D": (IMAGE, {"filters": 6, "kernel_size": 3, "rank": 4, "coefficients": 2}),
    "LowRankConv2D": (IMAGE, {"filters": 6, "kernel_size": 3, "rank": 3}),
    "LowRankDense": ((12,), {"units": 6, "rank": 3}),
    "Shift2D": (IMAGE, {"kernel_size": 3}),
    "ShiftBatchNormalization": (IMAGE, {}),
    "ShuffleUnit": (IMAGE, {"filters": 12, "groups": 3}),
    "MonochromaticConv2D": (IMAGE, {"filters": 6, "kernel_size": 3, "rank": 3}),
    "SpatialSeparableConv2D": (IMAGE, {"filters": 6, "kernel_size": 3, "rank": 3}),
    "TTConv2D": (IMAGE, {"filters": 8, "kernel_size": 3, "rank": 4}),
    "TTDense": ((5, 12), {"units": 8, "rank": 4}),
    "TernaryWeights": ((12,), {"layer": keras.layers.Dense(4, name="inner")}),
    "TuckerConv2D": (IMAGE, {"filters": 6, "kernel_size": 3, "rank": (3, 4)}),
    "WageWeights": (IMAGE, {"layer": keras.layers.Conv2D(4, 3, name="inner")}),
}


def with_ours(name, shape, settings):
    inputs = keras.Input(shape)
    x = keras.layers.Dense(shape[-1])(inputs)
    layer = getattr(ours, name)(name="ours", **settings)
    x = keras.layers.Dense(2)(keras.layers.ReLU()(layer(x)))
    return keras.Model(inputs, x)


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_layers_of_ours_are_converted_as_they_are_lowered(name):
    model = nets.randomise(with_ours(name, *CONVERTIBLE[name]))
    copy = to_tf_keras(model)
    x = nets.draw(model)
    assert nets.apart(model, copy, x) < 1e-5
    assert all("tf_keras" in type(layer).__module__ for layer in copy.layers)
    assert nets.apart(model, to_keras(copy), x) < 1e-5
    assert nets.apart(model, copy_back(copy, model), x) < 1e-5


REFUSED = {
    "BinaryConv2D": (IMAGE, {"filters": 4, "kernel_size": 3}, "GreaterEqual"),
    "BinaryDense": ((12,), {"units": 4}, "GreaterEqual"),
    "FakeQuantize": ((12,), {}, "Floor"),
    "FewBitActivations": ((12,), {}, "Round"),
    "HashedConv2D": ((8, 8, 64), {"filters": 64, "kernel_size": 3}, "Take"),
    "HashedDense": ((64,), {"units": 64}, "Take"),
    "MinMaxQuantize": ((12,), {}, "Min"),
    "NearestFill2D": (IMAGE, {"rows": [0, 0, 2, 7], "columns": [1, 1, 1]}, "Take"),
    "PerforatedConv2D": (IMAGE, {"filters": 4, "kernel_size": 3, "padding": "same"}, "Take"),
}


def test_every_layer_of_ours_has_a_case():
    layers = {n for n in ours.__all__ if issubclass(getattr(ours, n), keras.layers.Layer)}
    assert CONVERTIBLE.keys() | REFUSED.keys() == layers


@pytest.mark.parametrize("name", REFUSED)
def test_signs_and_gathers_are_refused_by_name(name):
    shape, settings, what = REFUSED[name]
    message = (
        rf"layer 'ours' \({name}\) is lowered to {what}, which tf_keras has no built-in layer for"
    )
    with pytest.raises(BridgeError, match=message):
        to_tf_keras(with_ours(name, shape, settings))


def test_a_shared_layer_of_ours_is_shared():
    inputs = keras.Input((8, 8, 6))
    layer = ours.CPConv2D(6, 3, rank=4, padding="same")
    copy = to_tf_keras(nets.randomise(keras.Model(inputs, layer(layer(inputs)))))
    assert len(copy.layers) == 5
