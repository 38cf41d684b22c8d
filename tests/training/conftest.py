"""A data set that a tiny net learns in seconds, and such nets."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.data import from_arrays

CLASSES = 4


def toy_images(count, seed):
    """Noise with one bright quarter: which one is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.integers(0, 120, (count, 16, 16, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 8 * (label // 2), 8 * (label % 2)
        image[row : row + 8, column : column + 8] += 60
    return images, labels


@pytest.fixture(scope="session")
def toy():
    return from_arrays(toy_images(128, 1), toy_images(64, 2))


@pytest.fixture
def build():
    """Builds a net with BN and dropout; with the same seed, the same net."""

    def make(seed=1, filters=6, softmax=False):
        keras.utils.set_random_seed(seed)
        x = inputs = keras.Input((16, 16, 3))
        x = layers.Conv2D(filters, 3, strides=2)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.Flatten()(x)
        x = layers.Dropout(0.3)(x)
        x = layers.Dense(CLASSES, activation="softmax" if softmax else None)(x)
        return keras.Model(inputs, x)

    return make
