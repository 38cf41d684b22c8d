"""`.keras` files of built-in layers; tests/layers/test_anywhere.py loads each layer's elsewhere."""

import zipfile

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.export import any_models
from tfcompress.errors import ExportError, InputError, PathError
from tfcompress.export import keras_file
from tfcompress.layers import BinaryConv2D, BinaryDense, ClipWeights, FakeQuantize, HashedDense


def several():
    """Two inputs and two outputs by name, a nested model, a layer called twice, all with ours."""
    keras.utils.set_random_seed(0)
    image, table = keras.Input((None, None, 3), name="image"), keras.Input((6,), name="table")
    body = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(8, 3, kernel_constraint=ClipWeights(1.0), name="first"),
            layers.BatchNormalization(),
            BinaryConv2D(8, 3, name="signs"),
            FakeQuantize(-6.0, 6.0, name="rounded"),
            layers.GlobalAveragePooling2D(),
        ],
        name="body",
    )
    twice = HashedDense(6, name="twice")
    x = layers.Concatenate()([body(image), twice(twice(table))])
    outputs = {"kind": layers.Dense(3, "softmax")(x), "price": layers.Dense(1)(x)}
    model = keras.Model({"image": image, "table": table}, outputs)
    model.compile("sgd", "mse")
    return model


def test_a_model_of_everything(tmp_path):
    model = several()
    written = tfcompress.export_keras(model, tmp_path / "plain.keras")
    assert written.lowered == {
        "signs": "BinaryConv2D",
        "rounded": "FakeQuantize",
        "twice": "HashedDense",
    }
    assert written.custom_layers == {}
    assert written.relative_rms < 0.01
    assert "3 layers written as built-in ones" in str(written)
    assert b"tfcompress" not in zipfile.ZipFile(written.path).read("config.json")
    plain = keras.saving.load_model(written.path)
    random = np.random.default_rng(0)
    x = {"image": random.normal(size=(3, 9, 8, 3)), "table": random.normal(size=(3, 6))}
    for key, expected in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(plain.predict(x, verbose=0)[key], expected, atol=1e-5)
    # The user's model is as it was.
    assert model.compiled
    assert isinstance(model.layers[-1], layers.Dense)
    assert model.get_layer("body").get_layer("first").kernel_constraint is not None


def test_layers_of_the_users_own_are_kept_and_named(tmp_path):
    model, x = any_models.made("custom_layer")
    written = tfcompress.export_keras(model, tmp_path / "m.keras", representative=x)
    assert list(written.custom_layers.values()) == ["Scaled"]
    assert "needs the classes of your own layers" in str(written)
    loaded = keras.saving.load_model(written.path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("name", ["transformer", "pixels", "any_length_lstm", "pure_half"])
def test_inputs_of_any_kind_are_drawn_for_the_comparison(name, tmp_path):
    model, _ = any_models.made(name)
    assert tfcompress.export_keras(model, tmp_path / "m.keras").relative_rms == 0


def small():
    return keras.Sequential([keras.Input((4,)), BinaryDense(3)])


def wrapped():
    inputs = keras.Input((5, 4))
    outputs = layers.TimeDistributed(BinaryDense(3), name="each_step")(inputs)
    return keras.Model(inputs, outputs)


def code():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Lambda(lambda x: 2 * x)(inputs))


@pytest.mark.parametrize(
    ("make", "path", "error", "message"),
    [
        (small, "m.h5", InputError, r"a file that ends in \.keras; got '.*m\.h5'"),
        (small, "no/m.keras", PathError, "can't be written: No such file"),
        (wrapped, "m.keras", InputError, r"'each_step' \(TimeDistributed\) holds BinaryDense of"),
        (code, "m.keras", InputError, "Keras can't load what it saves of this model: .*Lambda"),
        (lambda: any_models.made("text")[0], "m.keras", InputError, "takes strings"),
        (lambda: any_models.made("subclassed")[0], "m.keras", InputError, "is subclassed"),
        (lambda: "m.keras", "m.keras", InputError, "expected a Keras model; got str"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(make, path, error, message, tmp_path):
    with pytest.raises(error, match=message) as raised:
        tfcompress.export_keras(make(), str(tmp_path / path))
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="path takes the name of a file"):
        tfcompress.export_keras(small(), None)


def test_a_file_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    path.write_text("an old file")

    def wrong(model):
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(3)(inputs))

    monkeypatch.setattr(keras_file, "lower", wrong)
    with pytest.raises(ExportError, match="gives other outputs than model 'sequential"):
        tfcompress.export_keras(small(), path)
    assert path.read_text() == "an old file"
