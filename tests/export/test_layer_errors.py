"""Errors by layer: their names, and the figures against a computation of their own."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.export.quantised import mixed_net, pictures
from tfcompress.export import convert, export, layer_errors
from tfcompress.tflite.content import read
from tfcompress.tflite.weighted_ops import with_constant_weights


def names(model, path):
    convert.float_file(model, path)
    return list(layer_errors.layer_names(model, with_constant_weights(read(path))).values())


def test_each_product_by_its_layer(tmp_path):
    found = names(mixed_net(), tmp_path / "m.tflite")
    assert found == ["first", "depthwise", "pointwise", "hidden", "scores"]


def test_nested_and_shared_layers(tmp_path):
    inner = keras.Sequential([layers.Conv2D(4, 3, name="conv_1"), layers.ReLU()], name="inner")
    shared = layers.Conv2D(4, 3, padding="same", name="twice")
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            inner,
            shared,
            shared,
            layers.Flatten(),
            layers.Dense(2, name="d"),
        ]
    )
    assert names(model, tmp_path / "m.tflite") == ["conv_1", "twice", "twice #2", "d"]


def test_layers_with_the_numbers_that_keras_and_the_converter_put_behind_names(tmp_path):
    """The converter calls the layer conv2d conv2d_1, as Keras calls the next one."""
    names_of_layers = ["conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1"]
    model = keras.Sequential([keras.Input((16, 16, 3))])
    for name in names_of_layers:
        if name == "dense":
            model.add(layers.Flatten())
        dense = name.startswith("dense")
        model.add(layers.Dense(5, name=name) if dense else layers.Conv2D(4, 3, name=name))
    assert names(model, tmp_path / "m.tflite") == names_of_layers


def test_figures(tmp_path):
    """Of a file with float weights a little off: the layers' own outputs by Keras."""
    right, wrong = mixed_net(), mixed_net()
    kernel = wrong.get_layer("pointwise").kernel
    kernel.assign(kernel.numpy() * 1.25)
    files = []
    for name, model in (("right", right), ("wrong", wrong)):
        files.append(tmp_path / f"{name}.tflite")
        convert.float_file(model, files[-1])
    x = pictures(layer_errors.IMAGES + 5)
    found = layer_errors.errors(right, *files, x)
    assert list(found) == ["first", "depthwise", "pointwise", "hidden", "scores"]
    assert found["first"] == found["depthwise"] == 0
    used = x[: layer_errors.IMAGES]
    for layer in ("pointwise", "scores"):
        before, after = (
            keras.Model(model.inputs, model.get_layer(layer).output).predict(used, verbose=0)
            for model in (right, wrong)
        )
        expected = np.linalg.norm(after - before) / np.linalg.norm(before)
        assert found[layer] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("storage", ["float32", "float16", "int8", "int8_int4", "dynamic"])
def test_which_files_have_errors(storage, tmp_path):
    written = export(
        mixed_net(), tmp_path / "m.tflite", storage=storage, representative=pictures(100)
    )
    assert list(written.errors) == (
        [] if storage == "float32" else ["first", "depthwise", "pointwise", "hidden", "scores"]
    )
    least, most = {
        "float16": (0, 2e-3),
        "int8": (1e-3, 0.05),
        "int8_int4": (0.02, 0.4),
        "dynamic": (1e-3, 0.05),
    }.get(storage, (0, 0))
    assert all(least < error < most for error in written.errors.values())
