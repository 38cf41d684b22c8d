"""Small nets and data, and what is counted in what comes of them."""

import keras
import numpy as np


def user_model(classes=2, side=16):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(8, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )


def small_net(outputs=3, activation="softmax"):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((10,))
    x = keras.layers.Dense(32, activation="relu", name="first")(x)
    x = keras.layers.Dense(32, activation="relu", name="second")(x)
    return keras.Model(inputs, keras.layers.Dense(outputs, activation, name="last")(x))


def table(examples=120):
    x = np.random.default_rng(0).normal(size=(examples, 10))
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def share_of_zeros(model):
    kernels = [w for w in model.get_weights() if w.ndim == 2 and w.size >= 64]
    return np.mean(np.concatenate([kernel.ravel() for kernel in kernels]) == 0)


def most_values(model):
    return max(len(np.unique(w)) for w in model.get_weights() if w.ndim == 2 and w.size >= 64)
