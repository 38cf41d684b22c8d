import keras
import numpy as np
import pytest

import tfcompress
from tests.api.nets import small_net, table, user_model
from tests.conftest import CLASSES, draw
from tfcompress.data.as_fit import as_fit
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D
from tfcompress.training.signature import input_caster


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    return np.stack([draw(CLASSES[label], rng) for label in labels]), labels


def test_transform_is_surgery_only():
    model = user_model()
    thin = tfcompress.transform(model, "xnor", activation="relu")
    assert any(isinstance(layer, BinaryConv2D) for layer in thin.layers)
    assert not any(isinstance(layer, BinaryConv2D) for layer in model.layers)


def test_compress_export_benchmark_summary(arrays, tmp_path):
    model = user_model()
    before = [np.array(w) for w in model.get_weights()]
    small = tfcompress.compress(model, "xnor", (arrays, arrays), epochs=1, verbose=False)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    images = arrays[0].astype("float32")
    path = tmp_path / "m.tflite"
    written = tfcompress.export(small, path, storage="int8", representative=images)
    assert written.parity.agreement == 1
    (measured,) = tfcompress.benchmark(path, runs=5)
    assert measured.size_bytes == path.stat().st_size
    assert "BinaryConv2D" in tfcompress.summary(small)


def test_inputs_reach_the_model_as_they_are(arrays):
    """Also those that are no 8-bit images: normalised, in three axes, of any channels."""
    images, labels = arrays
    grey = images.mean(-1) / 64 - 1.7
    data = as_fit((grey, labels), inputs=1, convert=input_caster(grey_model()))
    assert data.train.x.dtype == np.float32
    np.testing.assert_allclose(
        np.concatenate([data.train.x, data.test.x]).sum(), grey.sum(), rtol=1e-5
    )
    assert data.take(np.arange(3)).x.shape == (3, 16, 16, 1)
    small = tfcompress.compress(grey_model(), "bwn", (grey, labels), epochs=1, verbose=False)
    assert small.input_shape == (None, 16, 16, 1)


def grey_model():
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: user_model(classes=2), r"labels are 0\.\.2, .* has 2 classes, 0\.\.1"),
        (lambda: user_model(side=32), r"inputs of shape \(32, 32, 3\).*\(16, 16, 3\)"),
        (grey_model, r"shape \(16, 16, 1\), but those of the data are \(16, 16, 3\)"),
    ],
)
def test_compress_refuses_data_that_do_not_fit(arrays, model, message):
    images, labels = arrays
    with pytest.raises(InputError, match=message):
        tfcompress.compress(model(), "xnor", (images, labels * 2), verbose=False)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("net.keras", {}, r"model takes a Keras model: keras.saving.load_model\('net.keras'\)"),
        (np.zeros(3), {}, "model takes a Keras 3 model; got numpy.ndarray"),
        (None, {"technique": ["cp", "prune"]}, r"as in 'cp\+prune'; got \['cp', 'prune'\]"),
        (None, {"epochs": "3"}, r"^epochs takes a whole number; got '3' \(str\)"),
        (None, {"epochs": -1}, "^epochs must be 0 or more; got -1"),
        (None, {"learning_rate": "0.1"}, r"^learning_rate takes a number; got '0.1' \(str\)"),
        (None, {"seed": "0"}, r"^seed takes a whole number; got '0' \(str\)"),
        (None, {"seed": -1}, r"^seed must be in 0\.\.4294967295; got -1"),
        (None, {"clip_value": [1]}, r"^option clip_value takes a number; got \[1\] \(list\)"),
    ],
)
def test_arguments_of_another_type(arrays, model, arguments, message):
    model = user_model() if model is None else model
    with pytest.raises(InputError, match=message):
        tfcompress.compress(model, **{"technique": "bwn", "data": arrays, **arguments})


def test_a_model_without_a_graph(arrays):
    with pytest.raises(InputError, match="has no input shape: build it"):
        tfcompress.compress(keras.Sequential([keras.layers.Conv2D(3, 3)]), "cp", arrays)


def test_transform_refuses_chains_that_need_training():
    with pytest.raises(InputError, match=r"use tfcompress.compress\(model, 'prune', data\)"):
        tfcompress.transform(user_model(), "cp+prune+int8")


def test_compress_says_what_is_left_to_the_export(arrays, capsys):
    tfcompress.compress(user_model(), "int8", arrays)
    assert "acts as the file is written: export(storage='int8')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: tfcompress.benchmark(net), r"path of a \.tflite file, .*; got Sequential"),
        (lambda net: tfcompress.benchmark([None]), r"path of a \.tflite file, .*; got NoneType"),
        (lambda net: tfcompress.benchmark("m", backends=None), "^backends takes a text; got None"),
        (lambda net: tfcompress.benchmark("m", threads="2"), "^threads takes a whole number; got"),
        (lambda net: tfcompress.benchmark("m", runs="2"), "^runs takes a whole number; got '2'"),
        (lambda net: tfcompress.load(None), r"path of a \.tflite file, .*; got NoneType"),
        (lambda net: tfcompress.load("m", timeout_s="2"), "^timeout_s takes a number; got '2'"),
        (lambda net: tfcompress.export(net, None), r"^path takes the name of the \.tflite file"),
        (
            lambda net: tfcompress.export(net, "m", storage=["int8"]),
            "^storage takes a name, .*list",
        ),
        (
            lambda net: tfcompress.export(net, "m", metadata={}),
            r"takes tfcompress\.Metadata\(.*dict",
        ),
        (
            lambda net: tfcompress.export(net, "m", labels="ab"),
            "names in the outputs' order; got 'ab'",
        ),
        (
            lambda net: tfcompress.export(net, "m", validation=()),
            r"export\.Validation\(.*got tuple",
        ),
        (
            lambda net: tfcompress.compress(net, "svd", 0, class_weight=[1]),
            "^class_weight takes a dict",
        ),
        (
            lambda net: tfcompress.compress(net, "svd", table(), callbacks="x"),
            "of Keras 3; got str",
        ),
    ],
)
def test_arguments_of_a_wrong_kind(call, message):
    with pytest.raises(InputError, match=message) as raised:
        call(keras.Sequential([keras.Input((10,)), keras.layers.Dense(32), keras.layers.Dense(32)]))
    assert "\n" not in str(raised.value)


def test_a_file_of_keras_is_named_as_one(tmp_path):
    path = tmp_path / "m.keras"
    small_net().save(path)
    for call in (tfcompress.load, tfcompress.benchmark):
        with pytest.raises(InputError, match=r"not a \.tflite file: .*keras\.saving\.load_model"):
            call(path)


def test_unknown_names():
    with pytest.raises(InputError, match="did you mean 'xnor'"):
        tfcompress.transform(user_model(), "xnr")
    with pytest.raises(InputError, match="activation"):
        tfcompress.transform(user_model(), "xnor", activatoin="relu")
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tfcompress.nonsense
