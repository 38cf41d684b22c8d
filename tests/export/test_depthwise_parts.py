"""Large depthwise convolutions as sums of parts that the runtime has kernels for."""

import math

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.checks import assert_same, predict
from tests.techniques.conftest import randomise
from tfcompress.export.depthwise_parts import in_parts
from tfcompress.graph.nodes import operations
from tfcompress.tflite.content import read

LARGE = {
    "7x7": layers.DepthwiseConv2D(7, padding="same", name="dw"),
    "strides, relu": layers.DepthwiseConv2D(6, 2, padding="same", activation="relu", name="dw"),
    "dilated, two a channel": layers.DepthwiseConv2D(
        (6, 5), dilation_rate=(1, 2), depth_multiplier=2, use_bias=False, name="dw"
    ),
    "a group for each channel": layers.Conv2D(8, 9, groups=4, padding="same", name="dw"),
    "one row": layers.DepthwiseConv2D((1, 31), padding="same", activation="gelu", name="dw"),
}


def net(layer, size=12):
    inputs = keras.Input((size, 17, 4))
    x = type(layer).from_config(layer.get_config())(inputs)
    model = keras.Model(inputs, layers.Conv2D(3, 1, name="point")(x))
    randomise(model, 0)
    return model


@pytest.mark.parametrize("layer", LARGE.values(), ids=LARGE)
def test_the_sum_of_the_parts_is_the_same(layer):
    model = net(layer)
    parted = in_parts(model)
    x = np.random.default_rng(0).normal(size=(2, *model.inputs[0].shape[1:])).astype("float32")
    assert_same(predict(parted, x), predict(model, x))
    parts = [op for op in operations(parted) if isinstance(op, layers.DepthwiseConv2D)]
    assert len(parts) > 1
    assert max(math.prod(part.kernel_size) for part in parts) <= 25
    assert parted.get_layer("dw") is not None
    assert parted.count_params() == model.count_params()


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (layers.DepthwiseConv2D(5), 12),
        (layers.Conv2D(8, 7), 12),
        (layers.Conv2D(8, 7, groups=2), 12),
        (layers.DepthwiseConv2D(7, padding="same"), None),
    ],
    ids=["25 taps", "all channels", "two groups", "unknown height"],
)
def test_others_stay(layer, size):
    model = net(layer, size)
    assert in_parts(model) is model


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_files_have_the_parts(storage, tmp_path):
    model = net(LARGE["7x7"])
    x = np.random.default_rng(0).normal(size=(16, 12, 17, 4)).astype("float32")
    path = tmp_path / "m.tflite"
    tfcompress.export(model, path, storage=storage, representative=x, io="float32")
    ops = [op for op in read(path).ops if op.name == "DEPTHWISE_CONV_2D"]
    assert [op.inputs[1].shape[1:3] for op in ops] == [(3, 7), (3, 7), (1, 7)]
