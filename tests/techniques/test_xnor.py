"""Binary weights and binary activations; what the binary techniques share: test_binary.py."""

import dataclasses

import numpy as np
import pytest

import tfcompress
from tests.techniques.conftest import DEFAULT_CONTEXT, trained
from tests.techniques.counts import SIGNED
from tfcompress import kernels, techniques
from tfcompress.config import Training
from tfcompress.errors import InputError
from tfcompress.export import export
from tfcompress.layers import ClipWeights, LearnedStepWeights

PARAMETERS = SIGNED


def test_which_half_of_a_product_is_signs(small):
    thin = tfcompress.transform(small(), "xnor")
    for layer in ("conv2", "conv3"):
        assert thin.get_layer(layer).binarize_inputs is True
        assert thin.get_layer(layer).binarize_kernel is True


def test_recipe_and_storage():
    technique = techniques.get("xnor")
    assert technique.training(technique.make_options()).epochs == 20
    assert technique.storages == ("int8", "xnor")


def test_ends_of_8_bits_take_the_pixels_as_they_are(small, tmp_path):
    """Their mean, 127.5, lies in the middle of two pixels."""
    technique = techniques.get("xnor")
    candidate = technique.transform(
        techniques.Candidate(small()), technique.make_options(end_bits=8)
    )
    model = candidate.model
    actions = {line.name: line.action for line in candidate.layers}
    assert [actions[name] for name in ("conv1", "conv2", "logits")] == [
        "quantised", "binarised", "quantised",
    ]  # fmt: skip
    assert all(type(model.get_layer(name)) is LearnedStepWeights for name in ("conv1", "logits"))
    values = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3)).astype("float32")
    x = (values - np.float32(127.5)) / np.float32(127.5)
    model(x[:16], training=True)  # Shows the range.
    pixels = model.get_layer("conv1_pixels")
    rounded = np.asarray(pixels(x)) * 127.5
    np.testing.assert_allclose(rounded - rounded.min(), values, atol=1e-3)
    if kernels.missing() is None:
        written = export(model, tmp_path / "m.tflite", storage="xnor", representative=x)
        assert (written.ops["CUSTOM:TfcXnorByteConv2D"], written.ops["QUANTIZE"]) == (1, 1)
        assert written.parity.agreement == 1.0
        assert written.weight_bytes["int8"] == 3 * 3 * 3 * 8 + 4 * 4 * 16 * 4


def test_activations_of_2_bits(small):
    technique = techniques.get("xnor")
    plain = small()
    candidate = technique.transform(
        techniques.Candidate(plain), technique.make_options(activation_bits=2)
    )
    layer = candidate.model.get_layer("conv2")
    assert (layer.input_bits, layer.binarize_kernel) == (2, True)
    trained = sum(int(np.prod(v.shape)) for v in candidate.model.trainable_variables)
    assert trained == SIGNED + 2  # A step for each layer.
    reasons = {line.name: line.reason for line in candidate.layers}
    assert reasons["conv2"].startswith("inputs of 2 bits, binary weights; ")
    with pytest.raises(InputError, match="option activation_bits must be 1 or 2; got 3"):
        technique.make_options(activation_bits=3)


def test_other_bits_of_the_ends_are_refused():
    with pytest.raises(InputError, match="option end_bits must be 8 or 32; got 4"):
        techniques.get("xnor").make_options(end_bits=4)


def test_it_completes_what_binary_activations_began(small, data):
    """The layers' order and weights stay, and only their weights' signs are taken now."""
    half = trained(techniques.get("binary_activations"), small(), data, epochs=1).model
    xnor = techniques.get("xnor")
    whole = xnor.transform(techniques.Candidate(half), xnor.make_options())
    assert [layer.name for layer in whole.model.layers] == [layer.name for layer in half.layers]
    for layer in ("conv2", "conv3"):
        assert whole.model.get_layer(layer).binarize_kernel is True
        assert type(whole.model.get_layer(layer).kernel.constraint) is ClipWeights
    for got, expected in zip(whole.model.get_weights(), half.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert {line.name: line.reason for line in whole.layers}["conv2"] == (
        "binary weights behind binary inputs"
    )
    anew = xnor.transform(techniques.Candidate(half), xnor.make_options(init="scratch")).model
    assert not np.array_equal(anew.get_layer("conv2").kernel, half.get_layer("conv2").kernel)


def test_recu_keeps_latent_weights_between_their_quantiles(small, data):
    model = trained(techniques.get("xnor"), small(), data, epochs=1, recu=True).model
    for name in ("conv2", "conv3"):
        layer = model.get_layer(name)
        kernel = np.abs(np.asarray(layer.kernel))
        # As wide as the mean before the last clipping allowed, which was larger.
        assert kernel.max() > kernel.mean((0, 1, 2)).max()
        assert type(layer.kernel.constraint) is ClipWeights
    free = trained(techniques.get("xnor"), small(), data, epochs=1).model
    for name in ("conv2", "conv3"):
        cut, whole = (np.abs(np.asarray(m.get_layer(name).kernel)) for m in (model, free))
        assert (cut.max((0, 1, 2)) / cut.mean((0, 1, 2))).max() < (
            whole.max((0, 1, 2)) / whole.mean((0, 1, 2))
        ).min()


@pytest.mark.parametrize("init", [None, "scratch"])
def test_long_takes_the_signs_of_inputs_first(small, init):
    """Half of three times the epochs each; the second half begins at what the first one left."""
    technique = techniques.get("xnor")
    options = technique.make_options(recipe="long", init=init, end_bits=8, clip_value=0.5)
    settings = technique.training(options)
    assert settings == dataclasses.replace(technique.training(technique.make_options()), epochs=60)
    candidate = techniques.Candidate(small())
    (first, before), (second, after) = technique.rounds(candidate, options, settings)
    assert (before.epochs, after.epochs) == (30, 30)
    half = technique.transform(candidate, first)
    floats = half.model.get_layer("conv2")
    assert (floats.binarize_inputs, floats.binarize_kernel) == (True, False)
    assert type(half.model.get_layer("conv1")) is not LearnedStepWeights
    done = technique.transform(half, second)
    assert done.layers == technique.transform(candidate, options).layers  # One line each.
    whole = done.model
    signs = whole.get_layer("conv2")
    assert (signs.binarize_inputs, signs.binarize_kernel, signs.clip_value) == (True, True, 0.5)
    np.testing.assert_array_equal(signs.kernel, floats.kernel)
    assert type(whole.get_layer("conv1")) is LearnedStepWeights
    assert technique.rounds(candidate, options, dataclasses.replace(settings, epochs=1)) == [
        (options, dataclasses.replace(settings, epochs=1))
    ]


def test_long_trains_in_two_rounds(small, data):
    technique = techniques.get("xnor")
    step = techniques.Step(
        technique, technique.make_options(recipe="long"), Training(epochs=3, batch_size=16)
    )
    candidate, rows = techniques.apply(techniques.Candidate(small()), [step], data, DEFAULT_CONTEXT)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert candidate.model.get_layer("conv3").binarize_kernel
    with pytest.raises(InputError, match=r"option recipe .*default, paper; got 'long'"):
        techniques.get("bwn").make_options(recipe="long")
