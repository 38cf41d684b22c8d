import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.conftest import randomise
from tfcompress.graph.fold_batch_norm import fold_batch_norms


def test_same_function_without_the_normalisations_that_can_go():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="conv_bn")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(4, 1, activation="relu", name="active")(x)
    x = layers.BatchNormalization(name="active_bn")(x)  # Behind a ReLU: it has to stay.
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.BatchNormalization(name="depthwise_bn")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(5, name="dense")(x)
    x = layers.BatchNormalization(name="dense_bn")(x)
    model = randomise(keras.Model(inputs, x))
    # A pruned kernel and a negative scale would make negative zeros.
    kernel = np.array(model.get_layer("conv").kernel)
    kernel[0] = 0
    model.get_layer("conv").kernel.assign(kernel)
    gamma = np.array(model.get_layer("conv_bn").gamma)
    gamma[1] *= -1
    model.get_layer("conv_bn").gamma.assign(gamma)
    before = model.get_weights()

    result, gone = fold_batch_norms(model)
    assert gone == {"conv_bn": "conv", "depthwise_bn": "depthwise", "dense_bn": "dense"}
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    expected = np.asarray(model(images))
    np.testing.assert_allclose(np.asarray(result(images)), expected, rtol=1e-4, atol=1e-5)
    zeros = np.asarray(result.get_layer("conv").kernel)[0]
    assert np.all(zeros == 0)
    assert not np.signbit(zeros).any()
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)


def test_nothing_to_fold():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="conv")(inputs))
    result, gone = fold_batch_norms(model)
    assert gone == {}
    assert result is not model


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    "weighted",
    [
        functools.partial(layers.Conv2D, 4, 3),
        # Its kernel's third axis is that of the filters.
        functools.partial(layers.Conv2DTranspose, 4, 3),
        # Its kernel's last two axes are.
        functools.partial(layers.DepthwiseConv2D, 3, depth_multiplier=2),
        functools.partial(layers.Dense, 4),
    ],
    ids=lambda weighted: weighted.func.__name__,
)
def test_each_kind_of_layer_with_small_variances(weighted, use_bias):
    """Where epsilon is as large as the variance it can't be forgotten."""
    inputs = keras.Input((6, 6, 4))
    x = weighted(use_bias=use_bias, bias_initializer="normal", name="weighted")(inputs)
    model = randomise(keras.Model(inputs, layers.BatchNormalization(epsilon=0.1, name="bn")(x)))
    variance = model.get_layer("bn").moving_variance
    variance.assign(np.linspace(0.01, 0.3, variance.shape[0]))
    result, folded_into = fold_batch_norms(model)
    assert folded_into == {"bn": "weighted"}
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 4)).astype("float32")
    expected = np.asarray(model(images, training=False))
    actual = np.asarray(result(images, training=False))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def _other_axis(x):
    return layers.BatchNormalization(axis=1, name="bn")(x)


def _two_consumers(x):
    return layers.Add()([layers.BatchNormalization(name="bn")(x), x])


def _two_calls(x):
    bn = layers.BatchNormalization(name="bn")
    return bn(bn(x))


@pytest.mark.parametrize("behind", [_other_axis, _two_consumers, _two_calls])
def test_what_stays(behind):
    inputs = keras.Input((6, 6, 3))
    model = randomise(keras.Model(inputs, behind(layers.Conv2D(4, 3, name="conv")(inputs))))
    result, folded_into = fold_batch_norms(model)
    assert folded_into == {}
    assert "BatchNormalization" in {type(layer).__name__ for layer in result.layers}
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(result(images)), np.asarray(model(images)), atol=1e-5)
