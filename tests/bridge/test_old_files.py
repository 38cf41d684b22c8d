import json

import h5py
import keras
import numpy as np
import pytest

from tfcompress import models
from tfcompress.bridge import BridgeError, load_h5
from tfcompress.bridge.legacy import tf_keras
from tfcompress.errors import InputError

OLD = tf_keras()


@pytest.fixture(scope="module")
def old_model():
    layers = OLD.layers
    inputs = layers.Input((16, 16, 3))
    x = layers.DepthwiseConv2D(3, padding="same", kernel_regularizer="l2")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = x * 0.5 + inputs
    block = OLD.Sequential([layers.Input((16, 16, 3)), layers.Conv2D(4, 3, activation="swish")])
    x = layers.GlobalAveragePooling2D()(block(x))
    model = OLD.Model(inputs, layers.Dense(3, activation="hard_sigmoid")(x))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.9, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture
def old_file(old_model, tmp_path):
    path = tmp_path / "old.h5"
    old_model.compile("adam", "mse")
    old_model.save(path)
    return path


def test_a_file_that_keras_3_refuses(old_model, old_file):
    with pytest.raises(Exception, match="deserializ"):
        keras.models.load_model(old_file, compile=False)
    model = load_h5(old_file)
    x = np.random.default_rng(1).standard_normal((2, 16, 16, 3)).astype("float32")
    assert isinstance(model, keras.Model)
    np.testing.assert_allclose(model(x), old_model(x), atol=1e-5)
    lines = []
    again = models.load(old_file, say=lambda *line: lines.append(line))
    np.testing.assert_array_equal(again(x), model(x))
    assert lines == [("bridge", f"{old_file} isn't a model of Keras 3: loading it by tf_keras")]
    assert "Keras 2 saved it" in models.compile_as_saved(again, old_file)


def edited(path, change):
    """The file with its configuration changed; its code must not run whatever it says."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_lambda_layers_arent_loaded(tmp_path):
    path = tmp_path / "code.h5"
    inner = OLD.Sequential(
        [OLD.layers.Input((4,)), OLD.layers.Lambda(lambda x: x + 1, name="evil")]
    )
    model = OLD.Sequential([OLD.layers.Input((4,)), inner, OLD.layers.Dense(2)])
    model.save(path)
    with pytest.raises(BridgeError, match=r"code.h5 holds code \(the Lambda layer 'evil'\)"):
        load_h5(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"class_name": "Stranger", "config": {}},
            "holds 'Stranger', which isn't a built-in layer",
        ),
        ({"class_name": "__lambda__", "config": {"value": "4w"}}, "holds '__lambda__'"),
        ({"class_name": "function", "config": "system"}, "holds 'function'"),
        (
            {"module": "os", "class_name": "Dense", "config": {}},
            "holds 'Dense' of the module 'os', which isn't imported",
        ),
        (
            {"class_name": "TFOpLambda", "config": {"function": "io.write_file"}},
            "calls TensorFlow's io.write_file, which can't be converted",
        ),
        ({"class_name": "SlicingOpLambda", "config": {}}, "holds 'SlicingOpLambda'"),
        ({"class_name": ["Dense"], "config": {}}, "isn't a built-in layer"),
    ],
)
def test_other_classes_arent_loaded(old_file, entry, message, monkeypatch):
    monkeypatch.setattr(OLD.models, "load_model", lambda *_, **__: pytest.fail("was loaded"))
    path = edited(old_file, lambda config: config["config"]["layers"].append(entry))
    with pytest.raises(BridgeError, match=message):
        load_h5(path)


def test_a_damaged_configuration(old_file):
    with h5py.File(old_file, "r+") as file:
        file.attrs["model_config"] = "{"
    with pytest.raises(BridgeError, match="model_config isn't JSON"):
        load_h5(old_file)


def test_settings_that_no_layer_takes(old_file):
    path = edited(
        old_file, lambda config: config["config"]["layers"][1]["config"].update(strange=1)
    )
    with pytest.raises(BridgeError, match="can't be loaded by tf_keras"):
        load_h5(path)


def test_weights_alone(old_model, tmp_path):
    path = tmp_path / "only.weights.h5"
    old_model.save_weights(path)
    with pytest.raises(BridgeError, match="holds no model, perhaps weights alone"):
        load_h5(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(InputError, match="no model file"):
        load_h5(tmp_path / "nothing.h5")
    path = tmp_path / "text.h5"
    path.write_text("text")
    with pytest.raises(BridgeError, match=r"is cut short or damaged \(.*signature not found"):
        load_h5(path)
