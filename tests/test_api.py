import keras
import numpy as np
import pytest

import tfcompress
from tests.conftest import CLASSES, draw
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    return np.stack([draw(CLASSES[label], rng) for label in labels]), labels


def user_model(classes=2, side=16):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(8, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )


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


def test_compress_takes_floats_and_pipelines(arrays):
    tf = pytest.importorskip("tensorflow")
    images, labels = arrays
    pipeline = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    settings = {"epochs": 1, "verbose": False}
    by_bytes = tfcompress.compress(user_model(), "bwn", (images, labels), **settings)
    by_pipeline = tfcompress.compress(user_model(), "bwn", pipeline, **settings)
    for one, other in zip(by_bytes.get_weights(), by_pipeline.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_images_reach_the_model_in_the_users_range(arrays):
    from tfcompress.api import _dataset

    images, labels = arrays
    whole = next(_dataset((images, labels)).batches("train", 8))[0]
    share = next(_dataset((images / 255.0, labels)).batches("train", 8))[0]
    assert whole.max() > 1
    np.testing.assert_allclose(share * 255, whole, atol=0.51)
    assert share.max() <= 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: user_model(classes=3), r"outputs of shape \(3,\).*2 classes"),
        (lambda: user_model(side=32), r"inputs of shape \(32, 32, 3\).*\(16, 16, 3\)"),
    ],
)
def test_compress_refuses_data_that_do_not_fit(arrays, model, message):
    with pytest.raises(InputError, match=message):
        tfcompress.compress(model(), "xnor", arrays, verbose=False)


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


def test_lists_are_as_good_as_tuples(arrays):
    from tfcompress.api import _dataset

    wanted = _dataset((arrays, arrays))
    for given in ([arrays, arrays], [[*arrays], [*arrays]], ([*arrays], [*arrays])):
        assert len(_dataset(given).test) == len(wanted.test) == 64
    # Pixels in plain lists are images, not a pair.
    assert len(_dataset((arrays[0].tolist(), arrays[1])).train) < 64


def test_a_model_without_a_graph(arrays):
    with pytest.raises(InputError, match="has no input shape: build it"):
        tfcompress.compress(keras.Sequential([keras.layers.Conv2D(3, 3)]), "cp", arrays)


def test_transform_refuses_chains_that_need_training():
    with pytest.raises(InputError, match=r"use tfcompress.compress\(model, 'prune', data\)"):
        tfcompress.transform(user_model(), "cp+prune+int8")


def test_compress_says_what_is_left_to_the_export(arrays, capsys):
    tfcompress.compress(user_model(), "int8", arrays)
    assert "acts as the file is written: export(storage='int8')" in capsys.readouterr().out


def test_unknown_names():
    with pytest.raises(InputError, match="did you mean 'xnor'"):
        tfcompress.transform(user_model(), "xnr")
    with pytest.raises(InputError, match="activation"):
        tfcompress.transform(user_model(), "xnor", activatoin="relu")
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tfcompress.nonsense
