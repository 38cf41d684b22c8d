"""Small nets with weights and batch statistics as a training would leave them."""

import keras
import numpy as np
import pytest
from keras import layers


def randomise(model, seed=0):
    """Gives biases and batch normalisations values that a wrong formula can't hide behind."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, layers.BatchNormalization):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(0, 0.3, size))
            layer.moving_variance.assign(rng.uniform(0.5, 2, size))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, size))
            if layer.center:
                layer.beta.assign(rng.normal(0, 0.3, size))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    return model


@pytest.fixture
def small():
    """Builds conv 8, conv 16, conv 16, each with BN and ReLU, two pools, dense 4."""

    def build(seed=0):
        keras.utils.set_random_seed(seed)
        x = inputs = keras.Input((16, 16, 3), name="image")
        for number, (filters, pool) in enumerate([(8, True), (16, True), (16, False)], start=1):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
            x = layers.BatchNormalization(name=f"conv{number}_bn")(x)
            x = layers.ReLU(name=f"conv{number}_relu")(x)
            if pool:
                x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
        x = layers.Flatten(name="flatten")(x)
        model = keras.Model(inputs, layers.Dense(4, name="logits")(x), name="small")
        return randomise(model, seed)

    return build
