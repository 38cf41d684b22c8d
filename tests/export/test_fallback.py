"""Layers that keep more bits where a file would differ too much from Keras."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.export.quantised import mixed_net, pictures
from tfcompress.errors import ExportError
from tfcompress.export import export, mixed
from tfcompress.runtime import LiteModel
from tfcompress.tflite import metadata
from tfcompress.training import logits

SPOILT = ("pointwise", "hidden")


def outlier_net():
    """A net with a channel far larger than the others, which the layer behind it doesn't use.

    Steps of an 8-bit grid that hold it are too wide for the other channels.
    """
    net = mixed_net()
    kernel, bias = net.get_layer("pointwise").get_weights()
    kernel[..., 0] *= 3000
    net.get_layer("pointwise").set_weights([kernel, bias])
    kernel, bias = net.get_layer("hidden").get_weights()
    kernel.reshape(16, 8, -1)[:, 0] = 0  # A view: pixels, channels, units.
    net.get_layer("hidden").set_weights([kernel, bias])
    return net


@pytest.fixture(scope="module")
def net():
    return outlier_net()


def written(net, folder, storage="int8", **more):
    return export(net, folder / "m.tflite", storage=storage, representative=pictures(60), **more)


@pytest.mark.parametrize("storage", ["int8", "dynamic"])
def test_the_worst_layers_compute_in_floats(net, tmp_path, storage):
    file = written(net, tmp_path, storage)
    widened = {layer for layer, why in file.kept.items() if why.startswith("kept floats: ")}
    assert widened == {"int8": {*SPOILT}, "dynamic": {"hidden"}}[storage]
    assert len(file.notes) == len(widened)
    assert {note.split("'")[1] for note in file.notes} == widened
    assert "hidden kept floats" in metadata.read(file.path).description
    x = pictures(60, 9)
    expected = logits(net, x)
    off = LiteModel(file.path).predict(x) - expected
    assert np.sqrt(np.mean(off**2) / np.mean(expected**2)) < 0.1
    assert file.weight_bytes["int8"] > 0
    assert file.failed_check is None


def test_float_ops_are_named(net, tmp_path):
    """What lies between two such layers, too: its grid has the same wide steps."""
    file = written(net, tmp_path, io="int8")
    assert {op.split()[0] for op in file.float_ops} >= {"CONV_2D", "ADD", "FULLY_CONNECTED"}
    assert LiteModel(file.path).output_dtype == "int8"
    assert not any("first" in op for op in file.float_ops)


def test_a_file_that_passes_is_written_once(tmp_path, monkeypatch):
    def never(*args):
        raise AssertionError("no layer needs to be judged")

    monkeypatch.setattr(mixed, "output_errors", never)
    assert written(mixed_net(), tmp_path).kept == {}


@pytest.mark.parametrize("strict", [True, False])
def test_what_no_layer_mends(net, tmp_path, strict):
    """8 bits instead of 4 aren't enough: the file is refused, or written as it was asked for."""
    if strict:
        with pytest.raises(ExportError, match="the output of layer 'hidden' differs most"):
            written(net, tmp_path, "int8_int4")
        assert list(tmp_path.iterdir()) == []
        return
    file = written(net, tmp_path, "int8_int4", strict=False)
    assert file.failed_check is not None
    assert file.kept == {}
    assert file.weight_bytes["int4"] > 0
    assert "Failed its check" in metadata.read(file.path).description


def test_outputs_larger_than_those_that_gave_the_ranges(tmp_path):
    """The last layer then keeps floats, and its output isn't cut on the way out of the file."""
    keras.utils.set_random_seed(0)
    row = keras.Input((8,), name="row")
    x = layers.Dense(16, activation="relu")(layers.Dense(16, activation="relu")(row))
    net = keras.Model(row, layers.Dense(1, name="value")(x))
    rows = np.random.default_rng(0).uniform(-1, 1, (300, 8)).astype("float32")
    order = np.abs(logits(net, rows)[:, 0]).argsort()
    file = export(
        net,
        tmp_path / "m.tflite",
        storage="int8",
        io="float32",
        calibration=rows[order[:100]],
        representative=rows,
    )
    assert file.kept["value"].startswith("kept floats: ")
    assert file.ops["DEQUANTIZE"] == 1
    assert file.parity.relative_rms < 0.05


def test_a_layer_that_takes_large_means_away_keeps_32_bit_floats(tmp_path):
    """Half floats are off by a share of each product, whose mean the bias all but takes away."""
    keras.utils.set_random_seed(0)
    row = keras.Input((64,), name="row")
    first = layers.Dense(16, name="first")
    net = keras.Model(row, layers.Dense(3, name="second")(layers.ReLU()(first(row))))
    kernel, bias = first.get_weights()
    first.set_weights([kernel, bias - 50 * kernel.sum(0)])
    rows = np.random.default_rng(0).normal(50, 1, (100, 64)).astype("float32")
    file = export(net, tmp_path / "m.tflite", storage="float16", representative=rows)
    assert list(file.kept) == ["first"]
    assert file.kept["first"].startswith("kept 32-bit floats: ")
    assert file.parity.relative_rms < 1e-3
    assert file.weight_bytes["float16"] >= 2 * 16 * 3
    assert file.weight_bytes["float32"] >= 4 * 64 * 16
