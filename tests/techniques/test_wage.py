"""Integers of weights and activations in the net, in training and in the file."""

import dataclasses

import keras
import numpy as np
import pytest

import tfcompress
from tests.checks import predict
from tests.techniques.conftest import trained
from tests.techniques.counts import CONV2, CONV3
from tests.techniques.test_lsq import assert_integers_are_the_nets, images
from tfcompress import techniques
from tfcompress.config import Distillation, Training
from tfcompress.errors import InputError
from tfcompress.export import low_bits
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.training.context import DEFAULT_CONTEXT

# Kernels alone: no bias, no normalisation.
KERNELS = 3 * 3 * 3 * 8 + CONV2 + CONV3 + 4 * 4 * 16 * 4
PARAMETERS = KERNELS
LAYERS = ("conv1", "conv2", "conv3", "logits")


def test_all_layers_have_three_values_of_a_power_of_two(small):
    thin = tfcompress.transform(small(), "wage")
    for name in LAYERS:
        layer = thin.get_layer(name)
        values = np.unique(np.asarray(layer.rounded_kernel()))
        assert np.log2(values[2]) == np.round(np.log2(values[2]))
        np.testing.assert_array_equal(values, [-values[2], 0, values[2]])
        assert not layer.layer.use_bias
    assert not [each for each in thin.layers if "BatchNorm" in type(each).__name__]


def test_inputs_of_layers_are_between_minus_1_and_1(small):
    x = images(30) * 3  # Up to 2^4 or so.
    candidate = techniques.Candidate(small(), samples=x)
    technique = techniques.get("wage")
    thin = technique.transform(candidate, technique.make_options()).model
    first, second = thin.get_layer("conv1_inputs"), thin.get_layer("conv2_inputs")
    shift = np.ceil(np.log2(np.abs(x).max()))
    assert (first.signed, first.num_bits, first.step_size()) == (True, 8, 2.0 ** (shift - 7))
    assert (second.signed, second.num_bits, second.step_size()) == (False, 7, 1 / 128)
    assert thin.get_layer("conv1").input_shift == shift
    assert thin.get_layer("conv2").input_shift == 0


def test_of_the_float_network_the_kernels_stay_up_to_a_factor(small):
    model = small()
    thin = tfcompress.transform(model, "wage", init="float")
    bn = model.get_layer("conv3_bn")
    scale = np.asarray(bn.gamma) / np.sqrt(np.asarray(bn.moving_variance) + bn.epsilon)
    folded = np.asarray(model.get_layer("conv3").kernel) * scale
    latent = np.asarray(thin.get_layer("conv3").kernel)
    inside = np.abs(latent) < 1
    ratio = latent[inside] / folded[inside]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)


def test_weights_move_on_the_gradients_grid_as_the_seed_says(small, data):
    technique = techniques.get("wage")
    runs = [
        trained(technique, small(), data, 1, gradient_bits=6).model.get_weights() for _ in range(2)
    ]
    for one, again in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, again)
        np.testing.assert_array_equal(one * 32, np.round(one * 32))
        assert np.abs(one).max() == 0.5


def test_learns(small):
    """Which of two corners is bright, from scratch, where the labels are half and half."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, (128, 16, 16, 3)).astype("float32")
    y = np.arange(128) % 2
    x[y == 0, :8, :8] += 1
    x[y == 1, 8:, 8:] += 1
    small = tfcompress.compress(small(), "wage", (x, y), epochs=4, batch_size=16)
    assert (predict(small, x).argmax(1) == y).mean() > 0.95


def test_the_file_holds_the_nets_integers(small, tmp_path):
    assert_integers_are_the_nets(tfcompress.transform(small(), "wage"), tmp_path)


def test_two_bits_a_weight_in_the_file(small, tmp_path, monkeypatch):
    monkeypatch.setattr(low_bits, "_latencies", lambda *_: (1.0, 1.0))
    thin, x = tfcompress.transform(small(), "wage"), images(20)
    path = tmp_path / "m.tflite"
    tfcompress.export(thin, path, storage="int2", representative=x)
    assert read(path).weight_bytes["int2"] == KERNELS // 4
    wanted = predict(thin, x)
    assert np.abs(LiteModel(path).predict(x) - wanted).max() < 0.03 * np.abs(wanted).max()


def test_refuses_what_no_whole_steps_train(small, data):
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.PReLU(name="act")(keras.layers.Conv2D(4, 3)(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    with pytest.raises(InputError, match=r"layer 'act' \(PReLU\) has others: take lsq or ternary"):
        tfcompress.transform(model, "wage")
    with pytest.raises(InputError, match="option gradient_bits must be bits=4 or more; got 3"):
        tfcompress.transform(small(), "wage", bits=4, gradient_bits=3)
    technique = techniques.get("wage")
    candidate = techniques.Candidate(model)
    two = dataclasses.replace(DEFAULT_CONTEXT, devices=2)
    for settings, context, message in (
        (Training(weight_decay=0.1), DEFAULT_CONTEXT, "weight_decay must be 0"),
        (Training(distillation=Distillation(losses="hint")), DEFAULT_CONTEXT, "trains no layers"),
        (Training(), two, "several devices would draw apart: train on one"),
    ):
        with pytest.raises(InputError, match=message):
            technique.fit(candidate, technique.make_options(), data, settings, context)
