"""Techniques that round a trained network: what they say, keep and refuse."""

import keras
import numpy as np
import pytest

import tfcompress
from tests.export.quantised import constants
from tfcompress import techniques
from tfcompress.config import RunConfig
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.layers import HashedDense
from tfcompress.pipeline import plan

NAMES = ("float16", "dynamic", "int8", "int8_int4", "mixed", "sqnr")
each = pytest.mark.parametrize("name", NAMES)


def data(count=64):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    return from_arrays((pixels, np.arange(count) % 4))


def pictures(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).astype("float32")


def made(name, model):
    technique = techniques.get(name)
    return technique.transform(techniques.Candidate(model), technique.make_options())


@each
def test_the_network_stays_and_each_layer_is_told_of(name, small):
    model = small()
    candidate = made(name, model)
    for old, now in zip(model.get_weights(), candidate.model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)
    actions = {line.name: line.action for line in candidate.layers}
    assert actions == {
        **dict.fromkeys(["conv1", "conv2", "conv3", "logits"], "quantised"),
        **dict.fromkeys(["conv1_bn", "conv2_bn", "conv3_bn"], "kept"),
    }


@each
def test_epochs_train_nothing(name, small):
    config = RunConfig(technique=f"prune+{name}", epochs=7)
    first, last = plan.plan(config).steps
    assert (first.training.epochs, last.training.epochs) == (7, 0)


def test_epochs_train_nothing_by_the_door_either(small):
    model = small()
    got = tfcompress.compress(model, "int8", data(), epochs=2, verbose=False)
    for old, now in zip(model.get_weights(), got.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)


@pytest.mark.parametrize("first", ["prune", "cluster", "cp", "svd", "hashed", "separable"])
@each
def test_chains_that_work(first, name):
    assert [t.name for t in techniques.chain(f"{first}+{name}")] == [first, name]


@pytest.mark.parametrize("first", ["xnor", "bwn"])
@pytest.mark.parametrize("name", ["int8", "int8_int4", "mixed", "sqnr", "dynamic"])
def test_binary_networks_have_a_storage_of_their_own(first, name):
    alone = techniques.get(first).storage
    with pytest.raises(
        InputError, match=rf"{name} can't follow .*{first} alone is written as {alone}"
    ):
        techniques.chain(f"{first}+{name}")


def test_twice_rounded():
    with pytest.raises(InputError, match=r"int8 can't follow qat: .*qat alone is written as int8"):
        techniques.chain("qat+int8")


def test_sparsity_is_in_the_file(small, tmp_path):
    """Exactly the zeros of a pruned network, and no others of any size."""
    model = small()
    kernel = model.get_layer("conv3").kernel
    values = kernel.numpy()
    values[np.abs(values) < np.quantile(np.abs(values), 0.8)] = 0
    kernel.assign(values)
    path = tmp_path / "m.tflite"
    model = made("int8", model).model
    tfcompress.export(model, path, storage="int8", representative=pictures(60))
    (stored,) = [v for _, v, *_ in constants(path).values() if v.shape == (16, 3, 3, 16)]
    np.testing.assert_array_equal(stored[values.transpose(3, 0, 1, 2) == 0], 0)
    assert 0.79 < (stored == 0).mean() < 0.83


@pytest.mark.parametrize("storage", ["int8", "float16", "dynamic"])
def test_shared_weights_can_be_rounded(storage, tmp_path):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 3))
    x = HashedDense(32, activation="relu")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(4)(x))
    written = tfcompress.export(
        model,
        tmp_path / "m.tflite",
        storage=storage,
        representative=pictures(40),
        calibration=pictures(200, 3),
    )
    assert written.parity.relative_rms < 0.1
    assert written.float_products == ()
