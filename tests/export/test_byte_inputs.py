"""Files of bits that take pixels as they are, against the same files that take floats."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.conftest import randomise
from tfcompress import Metadata, kernels, load
from tfcompress.errors import InputError
from tfcompress.export import export
from tfcompress.layers import BinaryConv2D, FakeQuantize, LearnedStepWeights
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read

WHY = kernels.missing()
pytestmark = pytest.mark.skipif(WHY is not None, reason=f"no 1-bit kernels here: {WHY}")
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 9, 8, 3)).astype("uint8")
# The mean's zero point is 73, or 127, half a step off, which integers by a scale can't be.
NORMALISATIONS = {"int8": (72.94, 60.3), "uint8": (127.5, 127.5)}
CONV = "CUSTOM:TfcXnorByteConv2D"


def net(low, high, *before, first_bits=8):
    """A network of bits whose first layer is in 8 bits, or a float layer."""
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((9, 8, 3))
    for layer in before:
        x = layer(x)
    first = layers.Conv2D(20, 3, padding="same")
    if first_bits == 8:
        x = FakeQuantize(low, high, nudge_values=True)(x)
        first = LearnedStepWeights(first, 8, name="first")
    x = layers.BatchNormalization()(first(x))
    x = layers.BatchNormalization()(layers.MaxPooling2D()(BinaryConv2D(20, 3)(x)))
    outputs = LearnedStepWeights(layers.Dense(5), 8, name="last")(layers.Flatten()(x))
    return randomise(keras.Model(inputs, outputs))


def written(model, path, x, mean=None, std=None, **options):
    known = None if mean is None else Metadata(mean=(mean,), std=(std,))
    return export(model, path, storage="xnor", representative=x, metadata=known, **options)


def first_ops(path, count):
    """The types that a file's first ops take, by name; but for those that only unpack weights."""
    ops = [op for op in read(path).ops if op.name != "DEQUANTIZE"]
    return [(op.name, op.inputs[0].dtype) for op in ops[:count]]


@pytest.mark.parametrize("narrowest", NORMALISATIONS)
def test_no_float_op_stands_before_the_bits(narrowest, tmp_path):
    mean, std = NORMALISATIONS[narrowest]
    x = (PIXELS - np.float32(mean)) / np.float32(std)
    model = net(-mean / std, (255 - mean) / std)
    floats = LiteModel(written(model, tmp_path / "float.tflite", x, mean, std).path)
    file = written(model, tmp_path / "bytes.tflite", x, mean, std, io="uint8")
    assert list(file.inputs.values()) == ["uint8 (1, 9, 8, 3)"]
    assert list(file.outputs.values()) == ["float32 (1, 5)"]
    assert file.parity.images == len(x)
    assert first_ops(file.path, 1) == [(CONV, "uint8")]
    right = floats.predict(x)
    assert len(np.unique(right, axis=0)) > 20
    of_bytes = LiteModel(file.path)
    np.testing.assert_array_equal(of_bytes.run(PIXELS, own_types=True)[0], right)
    np.testing.assert_array_equal(of_bytes.predict(x), right)
    of_picture = [load(m.path, check=False).probabilities(PIXELS[3]) for m in (floats, of_bytes)]
    np.testing.assert_array_equal(*of_picture)
    if narrowest == "int8":
        file = written(model, tmp_path / "int8.tflite", x, mean, std, io="int8")
        assert first_ops(file.path, 2) == [("QUANTIZE", "int8"), (CONV, "uint8")]
        np.testing.assert_array_equal(LiteModel(file.path).predict(x), right)


def test_without_a_normalisation_bytes_are_steps_of_the_files_own_scale(tmp_path):
    model = net(-0.8, 2.1)
    x = np.random.default_rng(1).uniform(-1, 2.4, (30, 9, 8, 3)).astype("float32")
    made = LiteModel(written(model, tmp_path / "m.tflite", x, io="uint8").path)
    scale, zero_point = made.input_grid
    assert scale == pytest.approx(2.9 / 255)
    on_grid = np.float32(scale) * (PIXELS - np.float32(zero_point))
    np.testing.assert_allclose(made.predict(on_grid), np.asarray(model(on_grid)), atol=1e-4)


def test_a_model_that_scales_pixels_itself(tmp_path):
    model, x = net(0.0, 1.0, layers.Rescaling(1 / 255)), PIXELS.astype("float32")
    file = written(model, tmp_path / "m.tflite", x, io="uint8")
    assert first_ops(file.path, 1) == [(CONV, "uint8")]
    np.testing.assert_allclose(LiteModel(file.path).predict(x), np.asarray(model(x)), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "normalisation", "io", "message"),
    [
        (
            lambda: net(0, 0, first_bits=32),
            (),
            "uint8",
            "io=uint8 of .* needs a first layer in 8",
        ),
        (lambda: net(-0.8, 2.1), (72.94, 60.3), "uint8", "aren't the pixels normalised with mean"),
        (lambda: net(-1, 1), (127.5, 127.5), "int8", "whole zero point .*, or give io=uint8 and"),
    ],
)
def test_one_line_says_why_not(model, normalisation, io, message, tmp_path):
    x = np.zeros((2, 9, 8, 3), "float32")
    with pytest.raises(InputError, match=message) as caught:
        written(model(), tmp_path / "m.tflite", x, *normalisation, io=io)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
