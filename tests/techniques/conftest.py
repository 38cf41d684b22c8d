"""Small nets with weights and batch statistics as a training would leave them."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.training.context import DEFAULT_CONTEXT


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


@pytest.fixture(scope="session")
def data():
    """64 pictures of noise in four classes, of the size that `small` takes."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3)).astype(np.uint8)
    return from_arrays((pixels, np.arange(64) % 4))


def trained(technique, model, data, epochs, context=DEFAULT_CONTEXT, **options):
    """The candidate after a chain of this one technique, in batches of 16."""
    settings = Training(epochs=epochs, batch_size=16)
    step = techniques.Step(technique, technique.make_options(**options), settings)
    candidate = model if isinstance(model, techniques.Candidate) else techniques.Candidate(model)
    return techniques.apply(candidate, [step], data, context)[0]


def kernels(model):
    """Layer name to its kernel."""
    return {
        layer.name: keras.ops.convert_to_numpy(layer.kernel)
        for layer in model.layers
        if hasattr(layer, "kernel")
    }


@pytest.fixture
def smallest():
    """Builds conv 8 with BN and ReLU and dense 4: for what takes several trainings."""

    def build(seed=0):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((16, 16, 3), name="image")
        x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="conv")(inputs)
        x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
        x = layers.Dense(4, name="logits")(layers.Flatten(name="flatten")(x))
        return randomise(keras.Model(inputs, x, name="smallest"), seed)

    return build


@pytest.fixture(scope="session")
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
