"""Convolutions of bytes in a network of bits, against Keras."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.conftest import randomise
from tfcompress import kernels
from tfcompress.export import convert, export
from tfcompress.export.xnor_ops import write_xnor
from tfcompress.graph import lower
from tfcompress.layers import BinaryConv2D, FakeQuantize, LearnedStepWeights
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor

WHY = kernels.missing()
pytestmark = pytest.mark.skipif(WHY is not None, reason=f"no 1-bit kernels here: {WHY}")


def net(num_bits=8, nudge=False, **convolution):
    """A stem, then signs of it and the numbers themselves, and a dense layer of 8 bits."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((9, 8, 3))
    x = FakeQuantize(-0.8, 2.1, num_bits=num_bits, nudge_values=nudge)(inputs)
    stem = {"strides": 2, "padding": "same", "use_bias": False, **convolution}
    x = LearnedStepWeights(layers.Conv2D(20, 3, **stem), 8, name="first")(x)
    x = skipped = layers.ReLU()(layers.BatchNormalization()(x))
    x = BinaryConv2D(20, 3, padding="same")(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D()(layers.Add()([x, skipped]))
    x = BinaryConv2D(12, 1)(layers.BatchNormalization()(x))
    outputs = LearnedStepWeights(layers.Dense(5), 8, name="last")(layers.Flatten()(x))
    return randomise(keras.Model(inputs, outputs))


def values(count=40):
    """Also what lies outside of the range, and halves of steps."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 2.5, (count, 9, 8, 3)).astype("float32")
    x[::2] = np.round(x[::2] * 255 / 2.9) * 2.9 / 255
    return x


@pytest.mark.parametrize(
    "arguments", [{}, {"padding": "valid", "dilation_rate": 2, "strides": 1, "nudge": True}]
)
def test_the_file_computes_what_keras_computes(arguments, tmp_path):
    model, x = net(**arguments), values()
    written = export(model, tmp_path / "m.tflite", storage="xnor", representative=x)
    assert written.ops["CUSTOM:TfcXnorByteConv2D"] == written.ops["QUANTIZE"] == 1
    assert "FLOOR" not in written.ops
    assert written.weight_bytes["int8"] == 27 * 20 + model.get_layer("last").kernel.shape[0] * 5
    assert written.parity.images == 40
    wanted = np.asarray(model(x))
    got = LiteModel(written.path).predict(x)
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("pads", "padding", "left"),
    [
        (((1, 0), (0, 1)), "valid", 0),
        (((1, 0), (0, 1)), "same", 0),  # Both together stay below the kernel's width.
        (2, "same", 1),
        (3, "valid", 1),
    ],
)
def test_padding_before_the_rounding_is_the_convolutions_own(pads, padding, left, tmp_path):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((9, 8, 3))
    x = FakeQuantize(-0.8, 2.1)(layers.ZeroPadding2D(pads)(inputs))
    x = LearnedStepWeights(layers.Conv2D(20, 3, strides=2, padding=padding), 8)(x)
    x = BinaryConv2D(12, 1)(layers.BatchNormalization()(x))
    model, x = randomise(keras.Model(inputs, x)), values()
    written = export(model, tmp_path / "m.tflite", storage="xnor", representative=x)
    assert written.ops["CUSTOM:TfcXnorByteConv2D"] == 1
    assert written.ops.get("PAD", 0) == left
    wanted = np.asarray(model(x))
    got = LiteModel(written.path).predict(x)
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_what_is_rounded_to_fewer_bits_stays_floats(tmp_path):
    path = tmp_path / "m.tflite"
    convert.float_file(lower(net(num_bits=7), activations="signed"), path)
    editor = Editor(path)
    assert write_xnor(editor, few_bits=True) == {}
    names = [editor.name(op) for op in editor.ops()]
    assert (names.count("FLOOR"), names.count("QUANTIZE"), names.count("CUSTOM")) == (1, 0, 2)


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (0.0, 6.0)])
def test_ranges_that_the_converter_has_ops_of_its_own_for(ends, tmp_path):
    """And additions of 0 and products with 1, which it leaves out."""
    pixels = np.random.default_rng(2).integers(0, 256, (8, 4, 5, 2)).astype("float32")
    x = (pixels / 255 * (ends[1] - ends[0]) + ends[0]).astype("float32")
    inputs = keras.Input((4, 5, 2))
    y = FakeQuantize(*ends, nudge_values=True)(inputs)
    y = LearnedStepWeights(layers.Conv2D(3, 2, bias_initializer="uniform"), 8)(y)
    model = keras.Model(inputs, BinaryConv2D(2, 2, bias_initializer="uniform")(y))
    path = tmp_path / "m.tflite"
    convert.float_file(lower(model, activations="signed"), path)
    editor = Editor(path)
    assert write_xnor(editor, few_bits=True) == {}
    editor.write(path)
    assert "CUSTOM:TfcXnorByteConv2D" in read(path).op_counts()
    np.testing.assert_allclose(LiteModel(path).predict(x), np.asarray(model(x)), atol=1e-5)
