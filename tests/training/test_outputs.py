import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.training.outputs import as_logits, ends_in_softmax


def ending(*last):
    x = inputs = keras.Input((5,))
    for layer in (layers.Dense(3), *last):
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("model", "softmax"),
    [
        (lambda: ending(), False),
        (lambda: ending(layers.ReLU()), False),
        (lambda: ending(layers.Dense(3, activation="sigmoid")), False),
        (lambda: ending(layers.Activation("softmax"), layers.Dense(3)), False),
        (lambda: ending(layers.Dense(3, activation="softmax")), True),
        (lambda: ending(layers.Softmax()), True),
        (lambda: ending(layers.Activation("softmax")), True),
        (lambda: ending(keras.ops.softmax), True),
        (lambda: ending(keras.activations.softmax), True),
        (lambda: keras.Sequential([keras.Input((5,)), layers.Dense(3), layers.Softmax()]), True),
        (lambda: keras.Sequential([keras.Input((5,)), layers.Dense(3)]), False),
        (lambda: ending(keras.Sequential([layers.Dense(3, activation="softmax")])), True),
        (lambda: keras.Sequential([keras.Input((5,)), ending(layers.Softmax())]), True),
        (lambda: keras.Sequential([keras.Input((5,)), ending()]), False),
    ],
)
def test_ends_in_softmax(model, softmax):
    assert ends_in_softmax(model()) is softmax


def test_as_logits_differs_from_logits_by_a_constant_a_row():
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    assert as_logits(logits, softmax=False) is logits
    back = np.asarray(as_logits(keras.ops.softmax(logits), softmax=True))
    np.testing.assert_allclose(np.ptp(back - logits, axis=1), 0, atol=1e-5)


def test_as_logits_of_a_zero_probability_is_finite():
    assert np.isfinite(np.asarray(as_logits(np.float32([[0, 1]]), softmax=True))).all()
