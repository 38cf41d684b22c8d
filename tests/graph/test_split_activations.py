import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict
from tests.techniques.conftest import randomise
from tfcompress.graph import clone
from tfcompress.graph.rewrite import Graph
from tfcompress.graph.split_activations import SPLIT, split_activations


def build():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="swish", name="conv")(x)
    x = layers.Conv2D(4, 3, activation=layers.LeakyReLU(0.3), name="leaky")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = layers.DepthwiseConv2D(3, name="linear")(x)
    x = layers.Flatten()(x)
    return randomise(keras.Model(inputs, layers.Dense(2, activation="softmax", name="out")(x)))


def test_the_same_function_with_linear_layers():
    model = clone(build())
    result, activations = split_activations(model)
    assert activations == {"conv": "silu", "leaky": "LeakyReLU", "out": "softmax"}
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(predict(result, images), predict(model, images), atol=1e-6)
    for name, layer in Graph.of(result).operations.items():
        if type(layer).__name__ in SPLIT:
            assert layer.activation is keras.activations.linear, name
    assert result.get_layer("leaky_activation").negative_slope == pytest.approx(0.3)
    assert model.get_layer("out").activation is keras.activations.softmax


def test_a_layer_called_twice_is_split_once():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, activation="tanh", name="twice")
    result, _ = split_activations(clone(keras.Model(inputs, dense(dense(inputs)))))
    assert [layer.name for layer in result.layers][1:] == ["twice", "twice_activation"]
    assert Graph.of(result).calls == {"twice": 2, "twice_activation": 2}


def test_nothing_to_split():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    result, activations = split_activations(model)
    assert activations == {}
    assert result is model
