import keras
import numpy as np
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
