"""Weights of a few bits with trained steps, in the net and in the file."""

import numpy as np
import pytest

import tfcompress
from tests.checks import predict
from tests.techniques.counts import PLAIN
from tfcompress.errors import InputError
from tfcompress.export import low_bits
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read

# And a step for each filter of two convolutions.
PARAMETERS = PLAIN + 2 * 16


def images(count):
    return np.random.default_rng(0).normal(size=(count, 16, 16, 3)).astype("float32")


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


def test_options_are_checked(small):
    with pytest.raises(InputError, match="option bits must be from 2 to 8; got 1"):
        tfcompress.transform(small(), "lsq", bits=1)
