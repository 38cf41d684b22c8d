"""What every technique must do, whatever it is: a new one is tested on arrival."""

import dataclasses
import functools
import importlib.util
import re

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
from tfcompress.training import TrainingContext

# How far a file may be from its Keras model: the rms of the difference by that of the outputs.
RELATIVE_RMS = {
    "float32": 1e-5,
    "float16": 1e-3,
    "pq": 1e-5,
    "dynamic": 0.03,
    "int8": 0.05,
    "int8_int4": 0.25,
}

each = pytest.mark.parametrize("name", techniques.names())


def pinned_parameters(name):
    """The count that the technique's own test file has: `PARAMETERS`, written out as arithmetic."""
    file = f"tests.techniques.test_{name}"
    pinned = None
    if importlib.util.find_spec(file):
        pinned = getattr(importlib.import_module(file), "PARAMETERS", None)
    assert pinned is not None, (
        f"write tests/techniques/test_{name}.py with PARAMETERS = the parameters of conftest's "
        "small network after the transform, as arithmetic"
    )
    return pinned


def transform(name, model, **options):
    technique = techniques.get(name)
    return technique.transform(techniques.Candidate(model), technique.make_options(**options))


def transforming(small):
    """Gives the small network and what a technique makes of it, with an older line: made once."""

    @functools.cache
    def of(name):
        technique, model = techniques.get(name), small()
        line = techniques.LayerLine("earlier", "Dense", "kept", "a test")
        candidate = techniques.Candidate(model, (line,))
        return model, technique.transform(candidate, technique.make_options())

    return of


@pytest.fixture(scope="module")
def transformed(small):
    return transforming(small)


def images(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).astype(np.float32)


def trained_weights(model):
    """All weights but those that a technique fixes before the training, such as codes."""
    statistics = ("moving_mean", "moving_variance")
    weights = [each for each in model.weights if each.trainable or each.name in statistics]
    return list(map(keras.ops.convert_to_numpy, weights))


def relative_rms(got, wanted):
    return np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2))


@each
def test_says_what_it_is(name):
    technique = techniques.get(name)
    assert technique.name == name
    assert technique.summary
    assert technique.reference
    assert set(technique.storages) <= set(storages.names())


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
def test_weights_of_its_own(name, transformed):
    model, candidate = transformed(name)
    before, its_own = model.get_weights(), candidate.model.get_weights()
    assert candidate.model is not model
    assert not {id(w) for w in candidate.model.weights} & {id(w) for w in model.weights}
    for weight in candidate.model.weights:
        weight.assign(np.full(weight.shape, 7.0))
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)
    candidate.model.set_weights(its_own)


@each
def test_transform_changes_outputs_only_where_it_says_so(name, transformed):
    (model, candidate), x = transformed(name), images(8)
    changes = not np.allclose(predict(candidate.model, x), predict(model, x), 1e-4)
    acts_in = techniques.get(name).acts_in
    assert changes == (acts_in == "transform" and name != "baseline")
    if acts_in == "transform":
        tfcompress.transform(model, name)
        return
    other = {
        "training": "tfcompress.compress(model, '",
        "export": "tfcompress.export(model, path, ",
    }
    with pytest.raises(InputError, match=f"{name} acts .*{re.escape(other[acts_in])}"):
        tfcompress.transform(model, name)


@each
def test_keeps_the_report_so_far(name, transformed):
    got = transformed(name)[1].layers
    assert got[0].name == "earlier"
    assert all(more.name and more.kind and more.action and more.reason for more in got)


@each
def test_parameters(name, transformed):
    assert graph.parameters(transformed(name)[1].model) == pinned_parameters(name)


@each
def test_trains_lowers_exports_and_reloads(name, small, tmp_path):
    technique = techniques.get(name)
    model = transform(name, small()).model
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 16, 16, 3)).astype(np.uint8)
    data = from_arrays((pixels, np.arange(64) % 4))
    before = trained_weights(model)
    training = dataclasses.replace(
        technique.training(technique.make_options()), epochs=1, batch_size=32
    )
    options = technique.make_options()
    candidate, rows = technique.fit(
        techniques.Candidate(model), options, data, training, TrainingContext(teacher=small())
    )
    assert len(rows) == 1
    if len(trained_weights(candidate.model)) != len(before):  # Batch normalisation is folded.
        before = [model.get_layer(name).kernel for name in ("conv1", "conv2", "conv3", "logits")]
        model = candidate.model
        after = [model.get_layer(name).kernel for name in ("conv1", "conv2", "conv3", "logits")]
    else:
        model = candidate.model
        after = trained_weights(model)
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
    # On other images than the export compared, and by a bound that isn't the export's.
    others = images(100, seed=3)
    wanted = predict(model, others)
    got = tfcompress.runtime.LiteModel(tmp_path / "model.tflite").predict(others)
    assert relative_rms(got, wanted) < RELATIVE_RMS[technique.storage]

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(predict(again, x), expected)
