"""What a stranger's model may name: layers and what they are made of, nothing that runs code."""

import json

import keras
import numpy as np
import pytest

import tfcompress.layers
from tests.models.strangers import changed, function, layer, small_model
from tfcompress.errors import InputError, UnsafeFileError
from tfcompress.models import classes, saved


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.keras"
    small_model().save(path)
    return path


def add(entry):
    return lambda layers: layers.append(entry)


def setting(key, value):
    return lambda layers: layers[1]["config"].update({key: value})


def savedmodel(folder):
    """A SavedModel; loading it is the harm."""
    small_model().export(folder / "saved", verbose=False)
    return str(folder / "saved")


def picture_writer(marker):
    """A Lambda layer of Keras's own function that writes a picture."""
    pixels = {"class_name": "__numpy__", "config": {"value": np.zeros((1, 4, 4, 3)).tolist(),
                                                    "dtype": "float32"}}  # fmt: skip
    arguments = {"path": str(marker), "value_range": [0, 255], "rows": 1, "cols": 1}
    run = function("plot_image_gallery", "keras.visualization")
    return layer("Lambda", inputs=pixels, function=run, arguments=arguments)


def test_keras_alone_runs_functions_that_a_file_names(small, tmp_path):
    """If this fails, Keras refuses them too, and the comment in classes.py is out of date."""
    marker = tmp_path / "marker.png"
    name = changed(small, add(picture_writer(marker)), tmp_path / "x.keras")
    keras.saving.load_model(name, compile=False, safe_mode=True)
    assert marker.exists()


def test_functions_that_a_file_names_arent_run(small, tmp_path):
    marker = tmp_path / "marker.png"
    name = changed(small, add(picture_writer(marker)), tmp_path / "x.keras")
    with pytest.raises(UnsafeFileError, match=r"holds code \(the Lambda layer 'x'\)"):
        saved.load(name)
    assert not marker.exists()


def test_savedmodels_arent_loaded(small, tmp_path, monkeypatch):
    folder = savedmodel(tmp_path)
    monkeypatch.setattr(
        "keras.src.export.tfsm_layer.TFSMLayer.__init__", lambda *_, **__: pytest.fail("was made")
    )
    entries = [
        layer("TFSMLayer", filepath=folder),
        layer("Lambda", inputs=folder, function=function("TFSMLayer", "keras.layers")),
        layer("Activation", inputs=folder, activation=function("TFSMLayer", "keras.layers")),
    ]
    for entry in entries:
        with pytest.raises(InputError, match=r"x\.keras (holds code|can't be loaded.*'TFSMLayer')"):
            saved.load(changed(small, add(entry), tmp_path / "x.keras"))


COMMAND = function("system", "os")
LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None, "closure": None}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add(layer("Lambda", function=LAMBDA)), "holds code"),
        (add(layer("Lambda", function=COMMAND, inputs="true")), "holds code|'os'"),
        (setting("activation", COMMAND), "holds 'function' of the module 'os'"),
        (setting("activation", function("eval", "builtins")), "holds 'eval', which is neither"),
        (setting("activation", function("get_file", "keras.utils")), "holds 'get_file'"),
        (setting("activation", function("load_data", "keras.datasets.mnist")), "'load_data'"),
        (setting("activation", function("deserialize", "builtins")), "holds 'deserialize'"),
        (setting("kernel_initializer", function("load_model", "keras.saving")), "'load_model'"),
        (setting("kernel_initializer", layer("CSVLogger", "keras.callbacks")), "'CSVLogger'"),
        (setting("kernel_regularizer", layer("Popen", "subprocess")), "module 'subprocess'"),
        (setting("kernel_constraint", LAMBDA), "holds '__lambda__'"),
        (add(layer("KerasFileEditor", "keras.saving")), "holds 'KerasFileEditor'"),
        (add(layer("Lambda", "keras.src.layers.core.lambda_layer")), "holds code"),
        (add({**layer("Dense", "os"), "registered_name": "keras>Dense"}), "module 'os'"),
        (add({**layer("x", "keras"), "registered_name": "Lambda"}), "holds 'x'"),
        (add({"class_name": ["Dense"], "config": {}}), "which is neither"),
        (add({"class_name": "__typespec__", "config": [], "module": "keras"}), "__typespec__"),
        (add(layer("StringLookup", vocabulary="/etc/passwd")), "reads another file"),
    ],
)
def test_what_isnt_a_layer(small, tmp_path, change, message):
    name = changed(small, change, tmp_path / "x.keras")
    with pytest.raises(InputError, match=message) as caught:
        saved.load(name)
    assert "\n" not in str(caught.value)


def test_a_class_of_the_users_own(small, tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Mine(keras.layers.Layer):
        pass

    model = keras.Sequential([keras.Input((4,)), Mine(), keras.layers.Dense(2)])
    model.save(tmp_path / "mine.keras")
    assert isinstance(saved.load(str(tmp_path / "mine.keras")).layers[0], Mine)


def whole_model():
    """Layers, operations, nested models and all that settings can be."""
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    normal = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(1))
    x = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", bias_constraint="non_neg",
                      kernel_initializer=normal)(inputs)  # fmt: skip
    x = x * 2 + keras.ops.sin(x)
    x = tfcompress.layers.BinaryConv2D(4, 1)(x[:, 1:, ...])
    x = layers.Dense(3, activation=layers.LeakyReLU(), dtype="mixed_float16")(x)
    x = layers.Dropout(0.1)(layers.Normalization(mean=0.0, variance=1.0)(x))
    x = keras.ops.reshape(x, (-1, 30, 3))
    x = layers.Bidirectional(layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)]))(x)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    inner.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9)), "mse")
    return keras.Model(inputs, inner(x))


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_ordinary_models(tmp_path, ending):
    model = whole_model()
    if ending == "h5":  # Which has no operations.
        layers = keras.layers
        model = keras.Sequential([keras.Input((8, 8, 3)), layers.SeparableConv2D(4, 3)])
        model.add(layers.Dense(2, activation=layers.ReLU(6.0), kernel_regularizer="l1"))
        model.add(keras.Sequential([keras.Input((6, 6, 2)), layers.BatchNormalization()]))
        model.add(tfcompress.layers.BinaryConv2D(4, 1))
    model.compile("adam", loss=lambda real, predicted: keras.ops.mean(predicted))
    path = tmp_path / f"m.{ending}"
    model.save(path)
    loaded = saved.load(str(path))
    for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_deep_and_wide_configurations():
    deep = json.loads("[" * 900 + '{"class_name": "Lambda", "config": {}}' + "]" * 900)
    with pytest.raises(UnsafeFileError, match="holds code"):
        classes.check("x.keras", deep)


def test_a_class_that_another_loader_may_know():
    for module in (None, "tf_keras.layers"):
        with pytest.raises(InputError, match="holds 'ThresholdedReLU'") as caught:
            classes.check("x.h5", {"class_name": "ThresholdedReLU", "config": {}, "module": module})
        assert not isinstance(caught.value, UnsafeFileError)
