"""What every technique must do, whatever it is: a new one is tested on arrival."""

import dataclasses

import keras
import numpy as np
import pytest

import tfcompress
import tfcompress.runtime
from tests.checks import predict
from tfcompress import graph, techniques
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.export import storages
from tfcompress.export.write import method_of

# conv1, its BN's gamma and beta, and the last dense layer of 4x4x16 features.
ENDS = 3 * 3 * 3 * 8 + 2 * 8 + 4 * 4 * 16 * 4 + 4
CONV2, CONV3 = 3 * 3 * 8 * 16, 3 * 3 * 16 * 16
# BN before the convolution, a bias in it, one slope a channel behind it.
SIGNED = ENDS + (2 * 8 + CONV2 + 16 + 16) + (2 * 16 + CONV3 + 16 + 16)
PLAIN = ENDS + (CONV2 + 2 * 16) + (CONV3 + 2 * 16)
# Depthwise, gamma, pointwise, gamma and beta.
SEPARABLE = ENDS + (9 * 8 + 8 + 8 * 16 + 2 * 16) + (9 * 16 + 16 + 16 * 16 + 2 * 16)
# Ranks are the largest within a quarter of the MACs; the convolutions' biases are off, BN stays.
NORMS = 2 * 16 + 2 * 16
CP = ENDS + NORMS + 9 * (8 + 3 + 3 + 16) + 15 * (16 + 3 + 3 + 16)
SPATIAL = ENDS + NORMS + 4 * 3 * (8 + 16) + 6 * 3 * (16 + 16)
LOW_RANK = ENDS + NORMS + 3 * (9 * 8 + 16) + 3 * (9 * 16 + 16)
TUCKER = ENDS + NORMS + (8 * 3 + 9 * 3 * 6 + 6 * 16) + (16 * 6 + 9 * 6 * 6 + 6 * 16)
# 8 channels as 2 * 4, 16 as 4 * 4; all bonds are 1.
TENSOR_TRAIN = ENDS + NORMS + (9 + 2 * 4 + 4 * 4) + (9 + 4 * 4 + 4 * 4)
# One stored column of the last layer for all four classes.
HASHED = ENDS + NORMS + CONV2 + CONV3 - 4 * 4 * 16 * (4 - 1)
PARAMETERS = {
    "baseline": PLAIN,
    "binary_activations": SIGNED,
    "bwn": PLAIN,
    "cp": CP,
    "cluster": PLAIN,
    # Batch normalisation is folded in the second round only.
    "deep_compression": PLAIN,
    "dynamic": PLAIN,
    "float16": PLAIN,
    "hashed": HASHED,
    "int8": PLAIN,
    "int8_int4": PLAIN,
    "minmax8": PLAIN,
    "mixed": PLAIN,
    # Batch normalisation is folded after the training only.
    "qat": PLAIN,
    "prune": PLAIN,
    "separable": SEPARABLE,
    "spatial": SPATIAL,
    "svd": LOW_RANK,
    "tt": TENSOR_TRAIN,
    "tucker": TUCKER,
    "xnor": SIGNED,
}

each = pytest.mark.parametrize("name", techniques.names())


def transform(name, model, **options):
    technique = techniques.get(name)
    return technique.transform(techniques.Candidate(model), technique.make_options(**options))


def images(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).astype(np.float32)


@each
def test_says_what_it_is(name):
    technique = techniques.get(name)
    assert technique.name == name
    assert technique.summary
    assert technique.reference
    assert technique.storage in storages.names()
    assert isinstance(technique.start, techniques.Start)


@each
def test_options_are_frozen_and_have_defaults(name):
    technique = techniques.get(name)
    options = technique.make_options()
    assert dataclasses.is_dataclass(options)
    assert type(options).__dataclass_params__.frozen
    assert isinstance(technique.training(options), Training)
    documented = type(options).__doc__ + "".join(b.__doc__ or "" for b in type(options).__mro__[1:])
    for field in dataclasses.fields(options):
        assert f"{field.name}:" in documented
    with pytest.raises(InputError, match=f"unknown option of {name} 'no_such_option'"):
        technique.make_options(no_such_option="1")


@each
def test_weights_of_its_own(name, small):
    model = small()
    before = model.get_weights()
    candidate = transform(name, model)
    assert candidate.model is not model
    assert not {id(w) for w in candidate.model.weights} & {id(w) for w in model.weights}
    for weight in candidate.model.weights:
        weight.assign(np.full(weight.shape, 7.0))
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)


@each
def test_keeps_the_report_so_far(name, small):
    technique = techniques.get(name)
    line = techniques.LayerLine("earlier", "Dense", "kept", "a test")
    candidate = techniques.Candidate(small(), (line,))
    got = technique.transform(candidate, technique.make_options()).layers
    assert got[0] == line
    assert all(more.name and more.kind and more.action and more.reason for more in got)


@each
def test_parameters(name, small):
    assert name in PARAMETERS, "write the technique's count out above"
    assert graph.parameters(transform(name, small()).model) == PARAMETERS[name]


@each
def test_trains_lowers_exports_and_reloads(name, small, tmp_path):
    technique = techniques.get(name)
    model = transform(name, small()).model
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 16, 16, 3)).astype(np.uint8)
    data = from_arrays((pixels, np.arange(64) % 4))
    before = model.get_weights()
    training = dataclasses.replace(
        technique.training(technique.make_options()), epochs=1, batch_size=32
    )
    options = technique.make_options()
    candidate, rows = technique.fit(
        techniques.Candidate(model), options, data, training, teacher=small()
    )
    assert len(rows) == 1
    if len(candidate.model.weights) != len(before):  # Batch normalisation is folded.
        before = [model.get_layer(name).kernel for name in ("conv1", "conv2", "conv3", "logits")]
        model = candidate.model
        after = [model.get_layer(name).kernel for name in ("conv1", "conv2", "conv3", "logits")]
    else:
        model = candidate.model
        after = model.get_weights()
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))

    x = images(20)
    expected = predict(model, x)
    for activations in ("signed", "unit"):
        lowered = graph.lower(model, activations=activations)
        assert not any(type(op).__module__.startswith("tfcompress") for op in lowered.layers)
        np.testing.assert_allclose(
            predict(lowered, x), expected, atol=1e-5 * np.abs(expected).max()
        )

    written = tfcompress.export(
        model,
        tmp_path / "model.tflite",
        storage=technique.storage,
        representative=x,
        calibration=images(64, seed=2),
    )
    assert written.parity.images == 20
    lite = tfcompress.runtime.LiteModel(tmp_path / "model.tflite")
    share = method_of(model, technique.storage).tolerance.max_abs
    np.testing.assert_allclose(lite.predict(x), expected, atol=share * np.abs(expected).max())

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict(again, x), expected)
