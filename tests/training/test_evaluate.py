import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.data import from_arrays
from tfcompress.training import accuracy, logits, runner


def linear(seed=0):
    """Flatten and one dense layer, with its weights."""
    rng = np.random.default_rng(seed)
    kernel, bias = rng.normal(size=(48, 4)), rng.normal(size=4)
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(4)])
    model.set_weights([kernel, bias])
    return model, kernel, bias


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (50, 4, 4, 3)).astype(np.uint8)
    return from_arrays((images[:16], np.arange(16) % 4), (images[16:], np.arange(34) % 4))


@pytest.mark.parametrize("batch_size", [5, 256])
def test_logits_against_numpy(batch_size):
    model, kernel, bias = linear()
    images = np.random.default_rng(2).normal(size=(13, 4, 4, 3)).astype(np.float32)
    got = logits(model, images, batch_size)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, images.reshape(13, 48) @ kernel + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_size", [7, 256])
def test_accuracy_against_numpy(data, batch_size):
    model, kernel, bias = linear()
    pixels = data.test.images.batch(np.arange(34)).astype(np.float64)
    x = (pixels - data.normalization.mean) / data.normalization.std
    labels = (x.reshape(34, 48) @ kernel + bias).argmax(1)
    expected = sum(int(a == b) for a, b in zip(labels, data.test.labels, strict=True)) / 34
    assert 0 < expected < 1
    assert accuracy(runner(model), data, batch_size) == expected


def test_dropout_and_batch_statistics_are_off():
    x = inputs = keras.Input((4, 4, 3))
    x = layers.Dropout(0.9)(layers.BatchNormalization(epsilon=0)(x))
    model = keras.Model(inputs, layers.Flatten()(x))
    images = np.random.default_rng(2).normal(3, 2, size=(6, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(logits(model, images), images.reshape(6, 48), rtol=1e-6)


def test_the_model_stays_uncompiled_and_shares_its_weights(data):
    model, kernel, bias = linear()
    compiled = runner(model)
    before = accuracy(compiled, data)
    assert not model.compiled
    constant = np.zeros_like(bias)
    constant[2] = 1
    model.set_weights([np.zeros_like(kernel), constant])
    share = float((data.test.labels == 2).mean())
    assert accuracy(compiled, data) == share != before
