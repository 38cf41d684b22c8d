import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.bridge.legacy import tf_keras
from tfcompress.layers import BinaryConv2D
from tfcompress.training.unit_strides import unit_strides

# 8 channels of even sizes: what ends the process where oneDNN computes the gradient.
PROGRAM = """
import keras
import numpy as np
import tfcompress
inputs = keras.Input((60, 60, 1))
x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
x = keras.layers.Conv2D(16, 1, strides=2)(x)
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
x = np.random.default_rng(0).normal(size=(20, 60, 60, 1)).astype("float32")
data = (x, np.arange(20) % 3)
for technique, options in (("bwn", {}), ("prune", {"engine": "tfmot"}), ("svd", {})):
    tfcompress.compress(
        model, technique, data, validation_data=data, epochs=1, verbose=False, **options
    )
print("trained")
"""


@pytest.mark.slow
def test_trainings_of_such_layers_end():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr[-500:]


@pytest.mark.parametrize("library", [keras, tf_keras()], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_values_are_the_same(library, padding):
    one = library.layers.Conv2D(5, 1, strides=(2, 3), padding=padding, activation="relu")
    row = library.layers.Conv1D(5, 1, strides=2, padding=padding)
    x = np.random.default_rng(0).normal(size=(2, 8, 9, 3)).astype("float32")
    expected = [np.asarray(one(x)), np.asarray(row(x[0]))]
    with unit_strides([one, row, one]):
        assert "convolution_op" in vars(one)
        assert "convolution_op" in vars(row)
        got = [np.asarray(one(x)), np.asarray(row(x[0]))]
    for each, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(each, other, rtol=1e-6, atol=1e-6)
    assert (one.strides, row.strides) == ((2, 3), (2,))
    assert "convolution_op" not in vars(one)


def test_wrapped_layers_as_well():
    one = layers.Conv2D(5, 1, strides=2)
    x = np.zeros((1, 2, 8, 8, 3), "float32")
    wrapper = layers.TimeDistributed(one)
    wrapper(x)
    with unit_strides([wrapper]):
        assert "convolution_op" in vars(one)
    assert "convolution_op" not in vars(one)


def test_binary_layers_as_well():
    one = BinaryConv2D(5, 1, strides=2)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    expected = np.asarray(one(x))
    with unit_strides([one]):
        assert "convolution_op" in vars(one)
        np.testing.assert_array_equal(np.asarray(one(x)), expected)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(4, 3, strides=2),
        layers.Conv2D(4, 1),
        layers.Conv2DTranspose(4, 1, strides=2),
        layers.SeparableConv2D(4, 1, strides=2),
        layers.DepthwiseConv2D(1, strides=2),
        layers.MaxPooling2D(1, strides=2),
        layers.Conv2D(4, 1, strides=2, data_format="channels_first"),
    ],
    ids=lambda layer: layer.name,
)
def test_others_stay(layer):
    layer.build((None, 8, 8, 3))
    with unit_strides([layer]):
        assert "convolution_op" not in vars(layer)


def test_many_channels_stay():
    layer = layers.Conv2D(4, 1, strides=2)
    layer.build((None, 8, 8, 16))
    with unit_strides([layer]):
        assert "convolution_op" not in vars(layer)
