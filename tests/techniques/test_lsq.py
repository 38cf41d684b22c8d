"""Weights of a few bits with trained steps, in the net and in the file."""

import keras
import numpy as np
import pytest

import tfcompress
from tests.checks import predict
from tests.techniques.counts import PLAIN
from tfcompress.config import Training
from tfcompress.errors import InputError
from tfcompress.export import low_bits
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor
from tfcompress.training import fit

# And a step for each filter of two convolutions.
PARAMETERS = PLAIN + 2 * 16


def images(count):
    return np.random.default_rng(0).normal(size=(count, 16, 16, 3)).astype("float32")


def assert_integers_are_the_nets(thin, folder):
    """An int8 file of a net whose inputs of layers are all rounded: weights, grids, and values.

    What is left is the bias's rounding, which moves a value at the border of two levels.
    """
    path, x = folder / "m.tflite", images(30)
    tfcompress.export(thin, path, storage="int8", representative=x, io="float32")
    editor = Editor(path)
    ops = [op for op in editor.ops() if editor.name(op) in ("CONV_2D", "FULLY_CONNECTED")]
    kinds = [editor.name(op) for op in editor.ops()]
    assert not {"MUL", "MINIMUM", "RELU"} & set(kinds)
    assert kinds.count("QUANTIZE") == kinds.count("DEQUANTIZE") == 1
    roundings = [thin.get_layer(f"{name}_inputs") for name in ("conv1", "conv2", "conv3", "logits")]
    taken = keras.Model(thin.inputs, [layer.output for layer in roundings]).predict(x, verbose=0)
    names = [editor.text(int(op.inputs[0])) for op in ops]
    got = LiteModel(path, keep_all=True).tensors(x, names)
    for op, layer, expected, integers in zip(ops, roundings, taken, got, strict=True):
        grid = editor.graph.tensors[int(op.inputs[0])].quantization
        np.testing.assert_allclose(grid.scale, layer.step_size(), rtol=1e-6)
        highest = (127 - int(grid.zeroPoint[0])) * grid.scale[0]
        np.testing.assert_allclose(highest, layer.integers[1] * layer.step_size(), rtol=1e-6)
        values = np.asarray(integers, "float32")
        off = values.reshape(expected.shape) - expected
        assert relative_rms(off, expected) < 0.03
        if layer.num_bits < 8:
            levels = np.abs(off) / layer.step_size()
            assert levels.max() < 1.01
            assert (levels > 0.01).mean() < 0.005
    wanted, outputs = predict(thin, x), LiteModel(path).predict(x)
    assert relative_rms(outputs - wanted, wanted) < 0.05


def relative_rms(difference, values):
    return np.sqrt(np.mean(difference**2) / np.mean(values**2))


def turned(model):
    """The model with a normalisation that turns some channels, as training may leave it."""
    bn = model.get_layer("conv2_bn")
    bn.gamma.assign(bn.gamma * np.where(np.arange(16) % 3, 1, -1))
    return model


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_as_many_values_as_bits_have(bits, small):
    thin = tfcompress.transform(small(), "lsq", bits=bits)
    layer = thin.get_layer("conv3")
    layer.kernel.assign(layer.kernel * 9)
    codes = np.asarray(layer.rounded_kernel()) / np.asarray(layer.step)
    assert np.allclose(codes, np.round(codes), atol=1e-4)
    assert set(np.unique(np.round(codes))) == set(range(-(2 ** (bits - 1)), 2 ** (bits - 1)))


def test_a_normalisation_behind_turns_no_weights_signs(small):
    """Else the lowest integer, which has no positive partner, couldn't be stored."""
    model = turned(small())
    thin = tfcompress.transform(model, "lsq", bits=8)
    x = images(5)
    np.testing.assert_allclose(predict(thin, x), predict(model, x), rtol=0.3, atol=0.3)
    assert (np.asarray(thin.get_layer("conv2_bn").gamma) >= 0).all()


@pytest.mark.parametrize(("bits", "storage"), [(2, "int2"), (4, "int4")])
def test_the_file_holds_the_trained_integers(bits, storage, small, tmp_path, monkeypatch):
    monkeypatch.setattr(low_bits, "_latencies", lambda *_: (1.0, 1.0))
    thin = tfcompress.transform(turned(small()), "lsq", bits=bits)
    path = tmp_path / "m.tflite"
    x = images(20)
    tfcompress.export(thin, path, storage=storage, representative=x)
    stored = read(path).weight_bytes
    assert stored[storage] == 3 * (3 * 8 * 16 + 3 * 16 * 16) * bits // 8
    assert stored["int8"] == 3 * 3 * 3 * 8 + 256 * 4  # The first and the last layer's.
    wanted, got = predict(thin, x), LiteModel(path).predict(x)
    assert np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2)) < 0.03


@pytest.mark.parametrize(("bits", "activation_bits"), [(2, 2), (3, 4)])
def test_integers_of_activations_too(bits, activation_bits, small, tmp_path):
    thin = tfcompress.transform(turned(small()), "lsq", bits=bits, activation_bits=activation_bits)
    rounding = thin.get_layer("conv2_inputs")
    assert (rounding.num_bits, rounding.signed) == (activation_bits, False)
    assert thin.get_layer("conv1_inputs").signed
    assert thin.get_layer("logits").num_bits == 8
    assert_integers_are_the_nets(thin, tmp_path)


def test_steps_dont_decay(small, data):
    """The other weights do: by a rate of 0 nothing but the decay would move them, and by 1 all."""
    thin = tfcompress.transform(small(), "lsq", bits=4, activation_bits=4)
    steps = [each.scale for each in thin.layers if each.name.endswith("_inputs")]
    steps += [thin.get_layer(name).step for name in ("conv1", "conv2", "conv3", "logits")]
    settings = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4, "optimizer": "sgd"}
    before = [np.asarray(step) for step in steps], np.asarray(thin.get_layer("conv2").kernel)
    decay = {"weight_decay": 2000.0, "learning_rate_schedule": "constant"}
    fit(thin, data, Training(**settings, **decay))
    for old, step in zip(before[0], steps, strict=True):
        np.testing.assert_allclose(np.asarray(step), old, rtol=0.1)
    assert np.abs(np.asarray(thin.get_layer("conv2").kernel)).max() < 0.8 * np.abs(before[1]).max()


def test_options_are_checked(small):
    with pytest.raises(InputError, match="option activation_bits must be from 2 to 8, or 32"):
        tfcompress.transform(small(), "lsq", activation_bits=1)
    with pytest.raises(InputError, match="option bits must be from 2 to 8; got 1"):
        tfcompress.transform(small(), "lsq", bits=1)
