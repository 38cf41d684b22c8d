"""Files of few bits a weight, and of hashed nets, from the door."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.export.conftest import BINARY_WEIGHTS, FLOAT_WEIGHTS, binary_net, real_images
from tests.export.quantised import mixed_net, pictures
from tfcompress.errors import InputError
from tfcompress.export import export, low_bits
from tfcompress.layers import BinaryDense, HashedConv2D, HashedDense
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.training import logits

# Words of 15 bits: of each row of the filters, and of the dense layer.
WORDS = 3 * 20 + 3 * 20 + 3 * 20 + 96
# What the bits of their table become.
TABLE = (0, 1)
# Of the dense layer. Without a sign between, the converter multiplies the BN before it into its
# weights, which aren't binary any more then.
HIDDEN = 3 * 3 * 8 * 20


@pytest.fixture(scope="module")
def as_fast():
    """Layers aren't timed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(low_bits, "_latencies", lambda *_: (1.0, 1.0))
        yield


@pytest.fixture(scope="module")
def bwn():
    return binary_net(inputs=False)


def written(model, images, folder):
    return {
        name: export(model, folder / f"{name}.tflite", storage=name, representative=images)
        for name in ("int4", "int2", "1bit")
    }


@pytest.fixture(scope="module")
def files(as_fast, net, images, tmp_path_factory):
    return written(net, images, tmp_path_factory.mktemp("xnor"))


@pytest.fixture(scope="module")
def bwn_files(as_fast, bwn, images, tmp_path_factory):
    return written(bwn, images, tmp_path_factory.mktemp("bwn"))


def off(model, file):
    """The largest difference, and its rms, as shares of the outputs'."""
    x = real_images(50, seed=2)  # Others than those of the gate.
    expected = logits(model, x)
    difference = LiteModel(file.path).predict(x) - expected
    largest = np.abs(difference).max() / np.abs(expected).max()
    return largest, np.sqrt(np.mean(difference**2) / np.mean(expected**2))


@pytest.mark.parametrize("storage", ["int4", "int2", "1bit"])
def test_binary_layers_are_exact(files, net, storage):
    assert off(net, files[storage])[0] < 1e-5
    assert files[storage].parity.agreement == 1


def test_what_is_rounded_in_a_net_with_float_inputs(bwn_files, bwn):
    """Inputs to 8 bits, and with them the first and the last layer's weights to 4 or 8."""
    assert off(bwn, bwn_files["1bit"])[0] < 1e-5
    assert 1e-4 < off(bwn, bwn_files["int2"])[1] < 0.05
    assert off(bwn, bwn_files["int2"])[1] < off(bwn, bwn_files["int4"])[1] < 0.3


def test_bits_that_take_more_than_bytes_are_noticed(files, bwn_files, images, tmp_path):
    """Of few weights the ops that unpack them are the larger part."""
    for made in (files["1bit"], bwn_files["1bit"]):
        (note,) = made.notes
        assert note.startswith("the binary weights are few: with 1 byte each the file would")
    size = export(binary_net(), tmp_path / "m.tflite", storage="int8").size_bytes
    said = float(files["1bit"].notes[0].partition("have about ")[2].split()[0])
    assert said == pytest.approx(size / 1024, rel=0.05)
    keras.utils.set_random_seed(0)
    wide = keras.Sequential([keras.Input((400,)), BinaryDense(500)])
    assert export(wide, tmp_path / "m.tflite", storage="1bit").notes == ()


def test_bytes(files, bwn_files):
    assert BINARY_WEIGHTS == 3 * 3 * 288 + HIDDEN
    assert files["int2"].weight_bytes["int2"] == BINARY_WEIGHTS // 4
    assert files["1bit"].weight_bytes["int16"] == 2 * (WORDS + len(TABLE))
    assert bwn_files["int2"].weight_bytes["int2"] == (BINARY_WEIGHTS - HIDDEN) // 4
    assert bwn_files["1bit"].weight_bytes["int16"] == 2 * (WORDS - 96 + len(TABLE))
    assert files["int4"].weight_bytes["int4"] == BINARY_WEIGHTS // 2
    assert bwn_files["int4"].weight_bytes["int4"] == (BINARY_WEIGHTS + FLOAT_WEIGHTS) // 2
    assert "int8" not in files["int2"].weight_bytes
    assert bwn_files["int2"].weight_bytes["int8"] == FLOAT_WEIGHTS + HIDDEN


def test_two_bits_in_fully_connected_alone(files, bwn_files):
    for found in (files, bwn_files):
        for name in ("int4", "int2"):
            ops = [op for op in read(found[name].path).ops if op.macs]
            narrow = {op.name for op in ops if op.inputs[1].dtype == name}
            assert narrow == {"FULLY_CONNECTED"}


def test_says_who_kept_more_bits(files, bwn_files):
    why = "4 bytes a weight: its weights aren't one magnitude a filter"
    assert files["1bit"].kept == {"first": why, "scores": why}
    assert bwn_files["1bit"].kept == {"first": why, "bn4": why, "scores": why}
    assert files["int2"].kept == files["int4"].kept == bwn_files["int4"].kept == {}
    values = "8 bits: its filters have more than the values -2s, -s, 0 and s"
    assert bwn_files["int2"].kept == {"first": values, "bn4": values, "scores": values}
    assert bwn_files["int2"].float_products == ()
    assert len(files["int2"].float_products) == 2


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("1bit", "storage 1bit finds no binary weights in model 'mixed_net': use float32, or a "
         "technique that makes some, such as bwn or xnor"),
        ("int2", "storage int2 finds no layer of model 'mixed_net' for 2 bits (4 layers, such as "
         "first: 8 bits: its filters have more than the values -2s, -s, 0 and s): use dynamic"),
    ],
)  # fmt: skip
def test_float_nets_have_no_binary_weights(tmp_path, storage, message):
    with pytest.raises(InputError) as caught:
        export(mixed_net(), tmp_path / "m.tflite", storage=storage, representative=pictures(4))
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("inputs", "instead"), [(True, "int8"), (False, "dynamic")])
def test_a_net_that_fewer_bits_make_slower(tmp_path, net, bwn, monkeypatch, inputs, instead):
    monkeypatch.setattr(low_bits, "_latencies", lambda *_: (1.0, 2.0))
    with pytest.raises(
        InputError, match=r"took 2\.00 times the floats' time here\): use " + instead
    ):
        export(net if inputs else bwn, tmp_path / "m.tflite", storage="int4")
    assert list(tmp_path.iterdir()) == []


class TestHashedAlone:
    def net(self, layer, *before):
        inputs = keras.Input((6, 6, 8))
        x = inputs
        for other in (*before, layer):
            x = other(x)
        return keras.Model(inputs, layers.Flatten()(x), name="hashed")

    def dense(self):
        return HashedDense(40, hashing="elementwise", compression_ratio=1 / 8)

    @pytest.mark.parametrize("kind", ["dense", "conv"])
    def test_dynamic(self, tmp_path, kind):
        keras.utils.set_random_seed(2)  # Layers draw their seeds as they are made.
        before = [layers.Flatten()] if kind == "dense" else []
        conv = HashedConv2D(288, 3, hashing="elementwise", compression_ratio=1 / 16, strides=3)
        model = self.net(self.dense() if kind == "dense" else conv, *before)
        x = np.random.default_rng(0).normal(size=(20, 6, 6, 8)).astype(np.float32)
        file = export(model, tmp_path / "m.tflite", storage="dynamic", representative=x)
        assert file.ops["CALL_ONCE"] == 1
        assert file.weight_bytes["int8"] < file.weight_bytes.get("float32", 0) + 10_000

    def test_no_layer_for_fewer_bits(self, tmp_path):
        model = self.net(self.dense(), layers.Flatten())
        message = r"nothing to quantise .* buckets of its hashed layers have 8 bits; use dynamic"
        with pytest.raises(InputError, match=message):
            export(model, tmp_path / "m.tflite", storage="int4")

    def test_behind_binary_inputs_with_float_weights(self, tmp_path):
        binary = BinaryDense(64, binarize_kernel=False)
        model = self.net(
            HashedDense(64, hashing="elementwise", compression_ratio=1 / 8),
            layers.Flatten(),
            layers.BatchNormalization(),
            binary,
        )
        with pytest.raises(InputError, match="of a network with binary inputs it writes"):
            export(model, tmp_path / "m.tflite", storage="int8")
