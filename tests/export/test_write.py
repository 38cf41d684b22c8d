import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.export.conftest import BINARY_WEIGHTS, FLOAT_WEIGHTS, binary_net, real_images
from tests.techniques.conftest import randomise
from tfcompress.errors import InputError
from tfcompress.export import ExportError, convert, export, storages
from tfcompress.runtime import LiteModel, Metadata
from tfcompress.tflite import metadata
from tfcompress.tflite.content import read
from tfcompress.training import logits


def relative_difference(model, path, images):
    expected = logits(model, images)
    return np.abs(LiteModel(path).predict(images) - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def files(net, images, tmp_path_factory):
    """The net in each exact storage, with what its export said."""
    folder = tmp_path_factory.mktemp("files")
    return {
        name: export(net, folder / f"{name}.tflite", storage=name, representative=images)
        for name in ("float32", "int8")
    }


@pytest.fixture(scope="module")
def dynamic(images, tmp_path_factory):
    """A net with binary weights alone, and its file with 8-bit weights everywhere."""
    model = binary_net(inputs=False)
    path = tmp_path_factory.mktemp("dynamic") / "m.tflite"
    return model, export(model, path, storage="dynamic", representative=images)


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_exact_storages(files, net, storage):
    images = real_images(50, seed=2)  # others than those of the gate
    assert relative_difference(net, files[storage].path, images) < 1e-5
    parity = files[storage].parity
    assert (parity.images, parity.agreement, parity.sign_flips) == (50, 1.0, 0)


def test_dynamic_storage_is_near(dynamic):
    model, written = dynamic
    images = real_images(50, seed=2)
    got = LiteModel(written.path).predict(images)
    assert (got.argmax(1) == logits(model, images).argmax(1)).mean() >= 0.9
    assert 1e-4 < written.parity.relative_rms < 0.1
    assert written.weight_bytes["int8"] == BINARY_WEIGHTS + FLOAT_WEIGHTS
    assert written.float_products == ()


def test_bytes_where_they_belong(files):
    assert "int8" not in files["float32"].weight_bytes
    assert files["int8"].weight_bytes["int8"] == BINARY_WEIGHTS
    float_bytes = files["float32"].weight_bytes["float32"]
    assert float_bytes - files["int8"].weight_bytes["float32"] >= 3.9 * BINARY_WEIGHTS
    sizes = {name: file.size_bytes for name, file in files.items()}
    assert sizes["float32"] - sizes["int8"] > 2 * BINARY_WEIGHTS


def test_says_which_layers_stayed_float(files):
    assert len(files["float32"].float_products) == 6
    assert len(files["int8"].float_products) == 2


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_the_file_is_what_was_said(files, storage):
    said = files[storage]
    content = read(said.path)
    assert said.storage == storage
    assert said.ops == content.op_counts()
    assert (said.ops["CONV_2D"], said.ops["FULLY_CONNECTED"]) == (4, 2)
    assert said.weight_bytes == content.weight_bytes
    assert said.to_json()["parity"]["images"] == 50
    assert content.inputs[0].shape == (1, 15, 15, 3)
    assert LiteModel(said.path).input_shape == (1, 15, 15, 3)


@pytest.mark.parametrize("what", [{"kernel": False}, {"inputs": False}], ids=["ba", "bwn"])
def test_half_binary_nets(tmp_path, images, what):
    model = binary_net(**what)
    written = export(model, tmp_path / "m.tflite", representative=images)
    assert set(written.weight_bytes) <= {"float32", "int32"}
    assert relative_difference(model, written.path, real_images(50, seed=2)) < 1e-5


def test_int8_of_binary_inputs_needs_binary_weights(tmp_path, images):
    model = binary_net(kernel=False)
    with pytest.raises(InputError, match=r"nothing to quantise .* binary weights; use float32"):
        export(model, tmp_path / "m.tflite", storage="int8", representative=images)
    assert list(tmp_path.iterdir()) == []


def test_int8_of_binary_weights_is_calibrated(tmp_path, images):
    """A filter of +-alpha stands on the grid of int8 without error."""
    path = tmp_path / "m.tflite"
    written = export(binary_net(inputs=False), path, storage="int8", representative=images)
    assert written.weight_bytes["int8"] >= BINARY_WEIGHTS + FLOAT_WEIGHTS
    assert written.notes == ()


def test_images_whose_classes_alternate_are_all_calibrated_with(tmp_path):
    """Half of the images give the ranges, and the others are compared: both need each class."""
    x = np.random.default_rng(0).uniform(0.5, 1, (40, 6)).astype("float32")
    x[1::2] *= 8  # Every other image has a range of its own.
    # Positive weights: of sums that nearly cancel, a small error would be a large share.
    positive = keras.initializers.RandomUniform(0.5, 1.0, seed=0)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, kernel_initializer=positive)])
    options = {"storage": "int8", "io": "float32"}
    written = export(model, tmp_path / "m.tflite", representative=x, **options)
    assert written.parity.images == 20
    assert written.parity.relative_rms < 0.02


@pytest.mark.parametrize("io", [None, "int8", "float32"])
def test_integer_files_take_floats_unless_told_otherwise(tmp_path, images, io):
    path, options = tmp_path / "m.tflite", {"storage": "int8", "representative": images}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tfcompress.export(binary_net(inputs=False), path, io=io, **options)
    changed = [one for one in said if one.category is FutureWarning]
    assert len(changed) == (io is None)
    assert all(one.filename == __file__ for one in changed)
    model = LiteModel(path)
    assert {model.input_dtype, model.output_dtype} == {io or "float32"}


def test_says_what_stays_float_beside_binary_layers(files):
    (note,) = files["int8"].notes
    assert note.startswith("4 of 6 layers have integer weights")
    assert "4 bytes a weight keep first, scores: " in note
    (note,) = files["float32"].notes
    assert note.startswith("the weights of strided, same, valid and 1 more need 1 bit each")


def test_the_signature_is_told_without_keras():
    code = """
import inspect, pydoc, sys, tfcompress
signature = inspect.signature(tfcompress.export)
assert list(signature.parameters)[:3] == ["model", "path", "storage"], signature
text = pydoc.plain(pydoc.render_doc(tfcompress.export))
assert "export(model: " in text and "representative: real inputs, as `fit` takes" in text
assert "*args" not in text.partition("PACKAGE CONTENTS")[0]
from tfcompress.export import storages
assert storages.names()
assert "keras" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("storage", ["dynamic", "float16", "int8_int4"])
def test_nothing_is_rounded_before_a_sign(net, images, tmp_path, storage):
    with pytest.raises(InputError, match=r"before the signs of layer '\w+'.*use int8 or float32"):
        export(net, tmp_path / "m.tflite", storage=storage, representative=images)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["sequential", "nested", "softmax", "shared"])
def test_kinds_of_models(tmp_path, images, kind):
    keras.utils.set_random_seed(3)
    body = [layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU()]
    if kind == "nested":
        body = [keras.Sequential(body)]
    if kind == "shared":
        shared = layers.Conv2D(3, 3, padding="same")
        body = [shared, shared]
    last = layers.Dense(5, activation="softmax" if kind == "softmax" else None)
    model = keras.Sequential([keras.Input((15, 15, 3)), *body, layers.Flatten(), last])
    randomise(model)
    written = export(model, tmp_path / "m.tflite", representative=images)
    assert relative_difference(model, written.path, images) < 1e-5


def test_a_compiled_model_stays_usable(tmp_path, images):
    model = keras.Sequential([keras.Input((15, 15, 3)), layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    export(model, tmp_path / "m.tflite", representative=images)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)
    model.fit(images, np.zeros((50, 2)), verbose=0)


def test_without_images_only_the_structure_is_audited(net, tmp_path):
    assert export(net, tmp_path / "m.tflite").parity is None


class TestWrongInput:
    @pytest.fixture
    def model(self):
        return keras.Sequential([keras.Input((15, 15, 3)), layers.Flatten(), layers.Dense(2)])

    def refused(self, message, model, path, **options):
        folder = path.parent
        before = sorted(folder.iterdir()) if folder.is_dir() else None
        with pytest.raises(InputError, match=message) as caught:
            export(model, path, **options)
        assert "\n" not in str(caught.value)
        assert before is None or sorted(folder.iterdir()) == before

    def test_unknown_storage(self, model, tmp_path):
        message = r"unknown storage 'int9': did you mean 'int8'\? Known: 1bit, dynamic, .*int8_int4"
        self.refused(message, model, tmp_path / "m.tflite", storage="int9")

    def test_missing_folder(self, model, tmp_path):
        self.refused("no folder .*absent to write m", model, tmp_path / "absent" / "m.tflite")

    def test_a_folder_in_the_files_place(self, model, tmp_path):
        (tmp_path / "m.tflite").mkdir()
        self.refused(r"m\.tflite is a folder", model, tmp_path / "m.tflite")

    @pytest.mark.parametrize("shape", [(0, 15, 15, 3), (4, 8, 8, 3), (15, 15, 3), (4, 15, 15, 1)])
    def test_images_of_another_shape(self, model, tmp_path, shape):
        message = r"must have the shape \(n, 15, 15, 3\), n at least 1; got"
        self.refused(message, model, tmp_path / "m.tflite", representative=np.zeros(shape))

    def test_images_that_are_no_numbers(self, model, tmp_path):
        wrong = np.full((2, 15, 15, 3), np.nan)
        self.refused("must be finite", model, tmp_path / "m.tflite", representative=wrong)

    def test_no_model(self, tmp_path):
        self.refused("expected a Keras model; got str", "model", tmp_path / "m.tflite")

    def test_another_backend(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr(convert.keras.backend, "backend", lambda: "jax")
        self.refused("needs the TensorFlow backend", model, tmp_path / "m.tflite")


@pytest.fixture
def wrong_bias(monkeypatch):
    """A converter that writes the file of a net whose last bias is a little off."""
    right = convert.float_file

    def wrong(model, path):
        bias = model.get_layer("scores").bias
        kept = bias.numpy()
        bias.assign(kept + np.float32([0, 0, 1e-2, 0, 0]))
        right(model, path)
        bias.assign(kept)

    monkeypatch.setattr(convert, "float_file", wrong)


@pytest.mark.parametrize("old", [None, b"an older file"])
def test_a_failed_check_writes_nothing(net, images, tmp_path, wrong_bias, old):
    path = tmp_path / "m.tflite"
    if old is not None:
        path.write_bytes(old)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ExportError, match=r"outputs by up to 0\.01.*strict=False .* writes it"):
        export(net, path, representative=images)
    assert sorted(tmp_path.iterdir()) == before
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("description", ["", "A net"])
def test_a_failed_check_is_marked_where_it_may_be_written(
    net, images, tmp_path, wrong_bias, description
):
    path, given = tmp_path / "m.tflite", Metadata(description=description, author="me")
    written = export(net, path, representative=images, strict=False, metadata=given)
    assert written.failed_check.startswith("the file differs from Keras: outputs by up to 0.01")
    assert written.parity.max_abs_diff == pytest.approx(1e-2, rel=1e-3)
    said = metadata.read(path)
    assert said.description.startswith(description)
    assert f"Failed its check: {written.failed_check}" in said.description
    assert said.author == "me"
    assert "failed its check: the file differs" in str(written)


def test_strict_or_not_a_good_file_is_the_same(net, images, tmp_path):
    files = [
        export(net, tmp_path / f"{strict}.tflite", representative=images, strict=strict)
        for strict in (True, False)
    ]
    assert [file.failed_check for file in files] == [None, None]
    strict, other = (Path(file.path).read_bytes() for file in files)
    assert strict == other


def test_no_numbers_are_refused_in_any_case(images, tmp_path):
    net = binary_net(seed=2)
    net.get_layer("scores").bias.assign([0, np.nan, 0, 0, 0])
    with pytest.raises(ExportError, match="outputs that aren't finite"):
        export(net, tmp_path / "m.tflite", representative=images, strict=False)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_the_quantizer_leaves_out_is_noticed(net, images, tmp_path, monkeypatch):
    right = convert.quantized_file
    monkeypatch.setattr(
        convert,
        "quantized_file",
        lambda made, path, bits: right(made, path, dict(list(bits.items())[:-1])),
    )
    with pytest.raises(ExportError, match="3 layers of 4 got integer weights"):
        export(net, tmp_path / "m.tflite", storage="int8", representative=images)
    assert list(tmp_path.iterdir()) == []


def test_replaces_an_older_file_and_leaves_nothing_beside_it(net, images, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"an older file")
    written = export(net, str(path), storage="int8", representative=images)
    assert written.path == str(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes()[4:8] == b"TFL3"
    assert written.size_bytes == path.stat().st_size


def test_prints_nothing(images, tmp_path, capfd):
    net = binary_net(seed=8)  # Of no other test: it is really converted.
    export(net, tmp_path / "m.tflite", storage="int8", representative=images)
    assert capfd.readouterr() == ("", "")


def test_the_room_is_the_door(net, tmp_path):
    assert tfcompress.export(net, tmp_path / "m.tflite").storage == "float32"
    with pytest.warns(DeprecationWarning, match=r"is tfcompress\.export\.storages\.by_name"):
        assert storages.by_name() == tfcompress.export.STORAGES
    assert tfcompress.export.export is export
    assert sys.modules["tfcompress.export"] is tfcompress.export
