"""Weights of 4 bits that were rounded by what their layers' inputs are."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import export
from tfcompress.errors import InputError
from tfcompress.export import calibrate, convert, gptq
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor
from tfcompress.tflite.weighted_ops import weighted, with_constant_weights
from tfcompress.training import logits

SHAPE = (8, 8, 6)


def images(count, seed=0):
    """Smooth ones, whose neighbouring values depend on one another."""
    coarse = np.random.default_rng(seed).normal(size=(count, 2, 2, 3))
    return np.tile(np.kron(coarse, np.ones((1, 4, 4, 1))), 2).astype("float32")


def net():
    """Strides, dilation, groups, a layer without bias, a filter of zeros, a shortcut."""
    x = image = keras.Input(SHAPE)
    x = skip = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(16, (3, 2), padding="same", use_bias=False, dilation_rate=2)(x)
    x = layers.Conv2D(16, 3, padding="same", groups=2, activation="relu")(layers.Add()([x, skip]))
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.Conv2D(24, 3, strides=2, activation="relu")(x)
    model = keras.Model(image, layers.Dense(10)(layers.Flatten()(x)))
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            kernel, *bias = layer.get_weights()
            kernel = random.normal(size=kernel.shape) / np.sqrt(np.prod(kernel.shape[:-1]))
            if not isinstance(layer, layers.DepthwiseConv2D):
                kernel[..., 0] = 0
            layer.set_weights([kernel, *(random.normal(size=b.shape) for b in bias)])
    return model


def test_outputs_differ_less_from_keras_than_with_the_nearest_integers(tmp_path):
    model, x, others = net(), images(120), images(100, seed=1)
    expected = logits(model, others)
    errors, contents = [], []
    for rounding in ("nearest", "gptq"):
        path = tmp_path / f"{rounding}.tflite"
        export(
            model,
            path,
            storage="int8_int4",
            rounding=rounding,
            calibration=x,
            representative=others,
            io="float32",
            strict=False,
        )
        errors.append(relative_rms(expected, LiteModel(path).predict(others)))
        contents.append(read(path))
    assert errors[1] < 0.6 * errors[0]
    kinds = [
        [(op.name, op.inputs[1].dtype) for op in with_constant_weights(content)]
        for content in contents
    ]
    assert kinds[0] == kinds[1]
    assert ("CONV_2D", "int4") in kinds[1]
    assert contents[0].op_counts() == contents[1].op_counts()


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_layer_gives_the_float_layers_outputs_on_average(use_bias, tmp_path):
    x = np.abs(images(64))
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Conv2D(12, 3, padding="same", use_bias=use_bias)]
    )
    floats, path = tmp_path / "float.tflite", tmp_path / "m.tflite"
    convert.float_file(model, floats)
    ranges = calibrate.ranges(floats, x)
    off = []
    for inputs in (None, x):
        calibrate.integer_file(floats, path, ranges, weight_bits=4, inputs=inputs)
        difference = LiteModel(path).predict(x) - model.predict(x, verbose=0)
        off.append(np.abs(difference.mean(axis=(0, 1, 2))).max())
    step = float(ranges[read(floats).outputs[0].name]["max"].item()) / 127
    assert off[1] < step / 10 < off[0]


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same", "strides": (2, 1)},
        {"padding": "valid", "dilation_rate": (2, 1)},
        {"padding": "same", "groups": 3},
    ],
)
def test_a_filters_inputs_times_the_filter_are_the_convolution(options, tmp_path):
    model = keras.Sequential([keras.Input((7, 8, 6)), layers.Conv2D(9, (3, 2), **options)])
    floats = tmp_path / "float.tflite"
    convert.float_file(model, floats)
    editor = Editor(floats)
    (op,) = weighted(editor)
    x = np.random.default_rng(0).normal(size=(1, 7, 8, 6)).astype("float32")
    groups = options.get("groups", 1)
    vectors = gptq._vectors(editor, op, x, groups, seed=3)
    kernel = editor.values(op.inputs[1]).reshape(groups, 9 // groups, -1)
    got = np.einsum("gpi,gfi->pgf", vectors, kernel).reshape(-1, 9)
    outputs = model.predict(x, verbose=0).reshape(-1, 9)
    places = np.random.default_rng(3).permutation(len(outputs))
    np.testing.assert_allclose(got, outputs[places], atol=1e-5)


def test_weights_that_4_bits_hold_stay(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(6)])
    kernel = np.random.default_rng(0).integers(-7, 8, (8, 6)) / 4.0
    kernel[0] = 7 / 4
    model.layers[-1].set_weights([kernel, np.ones(6)])
    x = np.random.default_rng(1).normal(size=(50, 8)).astype("float32")
    floats = tmp_path / "float.tflite"
    convert.float_file(model, floats)
    ranges = calibrate.ranges(floats, x)
    files = [tmp_path / "nearest.tflite", tmp_path / "gptq.tflite"]
    for path, inputs in zip(files, (None, x), strict=True):
        calibrate.integer_file(floats, path, ranges, weight_bits=4, inputs=inputs)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_storages_without_such_weights_and_unknown_words_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(6)])
    with pytest.raises(InputError, match="rounding must be one of nearest, gptq; got 'up'"):
        export(model, tmp_path / "m.tflite", storage="int8_int4", rounding="up")
    with pytest.raises(InputError, match=r"rounding=gptq is for .* storage int8_int4"):
        export(model, tmp_path / "m.tflite", storage="int8", rounding="gptq")
