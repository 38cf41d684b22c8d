"""Roundings of activations in float files, and the same grids in integer files."""

import keras
import numpy as np
import pytest

from tests.checks import predict
from tfcompress.export import export
from tfcompress.layers import FewBitActivations
from tfcompress.runtime import LiteModel
from tfcompress.tflite.editor import Editor


def images(count):
    return np.random.default_rng(1).standard_normal((count, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def shortcut():
    """An activation that the shortcut reads, too, one behind pooling, and signed ones of 3 bits."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, activation="relu", padding="same")(inputs)
    shared = keras.layers.MaxPooling2D()(x)
    x = FewBitActivations(2, maximum=1.2, name="shared")(shared)
    x = keras.layers.Conv2D(6, 3, padding="same")(x)
    x = FewBitActivations(3, signed=True, maximum=0.6, name="signed")(x)
    x = keras.layers.Conv2D(6, 1, activation="relu")(x)
    x = keras.layers.Add()([x, shared])
    x = keras.layers.AveragePooling2D(2)(x)
    x = FewBitActivations(4, maximum=1.5, name="averaged")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def test_a_float_file_rounds_by_two_ops(shortcut, tmp_path):
    path, x = tmp_path / "m.tflite", images(20)
    export(shortcut, path, storage="float32", representative=x)
    np.testing.assert_allclose(LiteModel(path).predict(x), predict(shortcut, x), atol=1e-5)
    kinds = [editor.name(op) for editor in [Editor(path)] for op in editor.ops()]
    # The converter repeats the last one behind the flattening.
    assert kinds.count("QUANTIZE") == kinds.count("DEQUANTIZE") == 4
    assert "FLOOR" not in kinds


def test_an_integer_file_has_the_grids_wherever_they_stand(shortcut, tmp_path):
    """By a product with 1 behind an average, which has its input's grid; else by the op before.

    A sign of 3 bits takes a MAXIMUM: only one end of the grid is one of the 8-bit integers.
    """
    path, x = tmp_path / "m.tflite", images(60)
    export(shortcut, path, storage="int8", representative=x, io="float32")
    editor = Editor(path)
    kinds = [editor.name(op) for op in editor.ops()]
    assert [kinds.count(name) for name in ("RELU", "MAXIMUM", "MUL")] == [1, 1, 1]
    assert kinds.count("QUANTIZE") == kinds.count("DEQUANTIZE") == 1
    steps = [
        float(tensor.quantization.scale[0])
        for tensor in editor.graph.tensors
        if tensor.quantization is not None and tensor.quantization.scale is not None
    ]
    for name in ("shared", "signed", "averaged"):
        assert np.isclose(steps, shortcut.get_layer(name).step_size(), rtol=1e-5).any(), name
    wanted, got = predict(shortcut, x), LiteModel(path).predict(x)
    assert np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2)) < 0.12
