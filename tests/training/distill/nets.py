"""What the tests of distillation share: small networks and their arithmetic in NumPy."""

import keras
import numpy as np
from keras import layers

from tfcompress.training.distill import KD, Distiller

CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def dense(seed, ends_in_softmax):
    rng = np.random.default_rng(seed)
    kernel, bias = rng.normal(size=(6, 3)).astype("float32"), rng.normal(size=3).astype("float32")
    inputs = keras.Input((6,))
    activation = "softmax" if ends_in_softmax else None
    model = keras.Model(inputs, layers.Dense(3, activation=activation)(inputs))
    model.set_weights([kernel, bias])
    return model, lambda x: x.astype(np.float64) @ kernel + bias


X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
Y = np.int32([0, 1, 2, 1, 0])


def distiller(student, teacher, weight, temperature=4.0, loss=None, **settings):
    made = Distiller(teacher, student, loss or KD(temperature), None, 1 - weight, **settings)
    softmax = getattr(student.layers[-1].activation, "__name__", "") == "softmax"
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax))
    return made
