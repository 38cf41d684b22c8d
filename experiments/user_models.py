"""Models as Keras's users have them, trained a little on data with something to see in them.

Eleven are written here, as a user would; six are Keras's own applications, at their smallest input.
Nothing is downloaded: the data are drawn, and an application has random weights, batch statistics
that belong to them, and a last layer that is fitted to the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

# Rows that a model is trained a little on and files are compared by.
ROWS = 120
CLASSES = 4
_EPOCHS = 12
_RIDGE = 1.0


@dataclasses.dataclass(frozen=True)
class Examples:
    """What `fit` takes: nested arrays of inputs and of targets, a row an example."""

    x: Any
    y: Any

    def first(self, count: int) -> Examples:
        """Returns the first rows."""
        return Examples(*keras.tree.map_structure(lambda array: array[:count], (self.x, self.y)))


@dataclasses.dataclass(frozen=True)
class UserModel:
    """How a model and its data are made.

    Attributes:
        title: what it is, for a table.
        build: makes the model, its weights random.
        examples: draws inputs and targets.
        loss: that it is trained by; None for an application, of which the last layer is fitted.
    """

    title: str
    build: Callable[[], keras.Model]
    examples: Callable[[np.random.Generator], Examples]
    loss: Any = None

    def make(self) -> tuple[keras.Model, Examples]:
        """Returns the model, trained a little, and its data."""
        keras.utils.set_random_seed(0)
        random = np.random.default_rng(0)
        examples = self.examples(random)
        model = self.build()
        if self.loss is None:
            settle_batch_norms(model, examples.x, random)
            fit_last_layer(model, examples.x, scores_of(examples.y))
            return model, examples
        for norm in _batch_norms(model):
            norm.momentum = 0.8  # By default they'd lag far behind these few steps.
        model.compile(keras.optimizers.Adam(3e-3), self.loss)
        model.fit(examples.x, examples.y, batch_size=16, epochs=_EPOCHS, verbose=0)
        model.compiled = False  # What it is trained for then follows from its data.
        return model, examples


def _batch_norms(model: keras.Model) -> list[Any]:
    every = model._flatten_layers(include_self=False)
    return [each for each in every if isinstance(each, layers.BatchNormalization)]


def settle_batch_norms(model: keras.Model, x: Any, random: np.random.Generator) -> None:
    """Gives batch normalisations statistics near those of the data, each scaled at random."""
    norms = _batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(x, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        shape = norm.moving_variance.shape
        norm.moving_variance.assign(norm.moving_variance * random.uniform(0.8, 1.25, shape))
        norm.moving_mean.assign(norm.moving_mean + 0.1 * random.standard_normal(shape))


def fit_last_layer(model: keras.Model, x: Any, wanted: np.ndarray, ridge: float = _RIDGE) -> None:
    """Fits a model's last layer with weights to wanted outputs, by least squares.

    Args:
        model: its last layer with weights is dense or a 1x1 convolution.
        x: inputs.
        wanted: (rows, outputs), or (rows, ..., outputs) of a model that gives outputs at several
            places. Where places are averaged behind the layer, they are averaged before it here.
        ridge: what is added to the squares' sums, of features whose mean square is 1.
    """
    last = next(each for each in reversed(model.layers) if each.weights)
    features = np.asarray(keras.Model(model.inputs, last.input)(x, training=False))
    if features.ndim > wanted.ndim:
        features = features.mean(tuple(range(1, features.ndim - 1)))
    features = features.reshape(-1, features.shape[-1]).astype("float64")
    wanted = wanted.reshape(len(features), -1)
    mean, std = features.mean(0), features.std() + 1e-6
    centred = (features - mean) / std
    kernel = np.linalg.solve(
        centred.T @ centred + ridge * np.eye(centred.shape[1]), centred.T @ wanted
    )
    bias = wanted.mean(0) - mean @ kernel / std
    last.set_weights([(kernel / std).reshape(last.kernel.shape), bias])


def scores_of(kinds: np.ndarray) -> np.ndarray:
    """Returns the outputs that a classifier's last layer is fitted to: 3 or -3 a class."""
    return 6.0 * np.eye(CLASSES)[kinds] - 3.0


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:side, 0:side] / side
    return rows, columns


def draw_pictures(
    random: np.random.Generator, side: int, channels: int = 3, count: int = ROWS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a disc or stripes a picture: pictures of 0..1, kinds, and (row, column, radius)."""
    rows, columns = _grid(side)
    kinds = np.arange(count) % CLASSES
    places = random.uniform([0.3, 0.3, 0.15], [0.7, 0.7, 0.3], (count, 3))
    drawn = np.empty((count, side, side, channels), "float32")
    for picture, kind, (row, column, radius) in zip(drawn, kinds, places, strict=True):
        near = np.exp(-((((rows - row) ** 2 + (columns - column) ** 2) / radius**2) ** 2))
        stripes = 0.5 + 0.5 * np.sin(40 * radius * (rows if kind % 2 else columns))
        inside = near * (1.0 if kind < 2 else stripes)
        colour = random.uniform(0.5, 1.0, channels)
        picture[:] = 0.2 * (rows if kind % 2 else columns)[..., None] + 0.8 * inside[..., None] * (
            colour
        )
    drawn += 0.02 * random.standard_normal(drawn.shape).astype("float32")
    return drawn.clip(0, 1), kinds, places


def _conv_block(x: Any, filters: int, **settings: Any) -> Any:
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, **settings)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def mini_xception() -> keras.Model:
    """The emotion net of Arriaga et al. 2017, arXiv:1710.07557, for 64x64 grey faces."""
    inputs = keras.Input((64, 64, 1), name="face")
    x = inputs
    for _ in range(2):
        x = layers.Conv2D(8, 3, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    for filters in (16, 32, 64, 128):
        beside = layers.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x)
        beside = layers.BatchNormalization()(beside)
        x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Add()([layers.MaxPooling2D(3, strides=2, padding="same")(x), beside])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3, padding="same")(x))
    return keras.Model(inputs, layers.Activation("softmax", name="emotion")(x))


def u_net() -> keras.Model:
    inputs = keras.Input((48, 48, 3), name="image")
    first = _conv_block(_conv_block(inputs, 16), 16)
    second = _conv_block(layers.MaxPooling2D()(first), 32)
    x = _conv_block(layers.MaxPooling2D()(second), 64)
    for filters, beside in ((32, second), (16, first)):
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        x = _conv_block(layers.Concatenate()([x, beside]), filters)
    return keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax", name="mask")(x))


def regression() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(1, name="radius"),
        ]
    )


def two_inputs() -> keras.Model:
    image, table = keras.Input((32, 32, 3), name="image"), keras.Input((12,), name="table")
    x = _conv_block(image, 16, strides=2)
    x = layers.GlobalAveragePooling2D()(_conv_block(x, 32, strides=2))
    x = layers.Concatenate()([x, layers.Dense(32, activation="relu")(table)])
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model([image, table], layers.Dense(CLASSES, activation="softmax")(x))


def detector() -> keras.Model:
    inputs = keras.Input((48, 48, 3), name="image")
    x = _conv_block(inputs, 16, strides=2)
    for filters in (32, 64):
        x = layers.SeparableConv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(_conv_block(x, 64))
    hidden = layers.Dense(64, activation="relu")(x)
    return keras.Model(
        inputs,
        {
            "box": layers.Dense(3, name="box")(hidden),
            "kind": layers.Dense(CLASSES, activation="softmax", name="kind")(hidden),
        },
    )


def autoencoder() -> keras.Model:
    inputs = keras.Input((32, 32, 1), name="noisy")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.UpSampling2D()(x)
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def audio() -> keras.Model:
    inputs = keras.Input((1600, 1), name="audio")
    x = layers.Conv1D(32, 16, strides=8, activation="relu")(inputs)
    for filters in (32, 64):
        x = layers.Conv1D(filters, 5, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling1D()(x)
    x = layers.GlobalAveragePooling1D()(layers.SeparableConv1D(64, 3, activation="relu")(x))
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def lstm() -> keras.Model:
    inputs = keras.Input((28, 12), name="steps")
    x = layers.LSTM(48)(layers.LSTM(48, return_sequences=True)(inputs))
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def bidirectional_gru() -> keras.Model:
    inputs = keras.Input((24,), dtype="int32", name="words")
    x = layers.Bidirectional(layers.GRU(24))(layers.Embedding(100, 32)(inputs))
    x = layers.Dense(48, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="positive")(x))


def tabular() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((30,), name="row"),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(1, name="value"),
        ]
    )


def transformer() -> keras.Model:
    inputs = keras.Input((24,), dtype="int32", name="words")
    x = layers.Embedding(100, 64)(inputs)
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, 16)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        y = layers.Dense(64)(layers.Dense(128, activation="gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def _kinds(side: int, channels: int = 3) -> Callable[[np.random.Generator], Examples]:
    return lambda random: Examples(*draw_pictures(random, side, channels)[:2])


def _masks(random: np.random.Generator) -> Examples:
    pictures, _, places = draw_pictures(random, 48)
    rows, columns = _grid(48)
    row, column, radius = places.T[..., None, None]
    return Examples(pictures, ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(int))


def _radii(random: np.random.Generator) -> Examples:
    pictures, _, places = draw_pictures(random, 32)
    return Examples(pictures, 4 * places[:, 2:].astype("float32"))


def _with_table(random: np.random.Generator) -> Examples:
    pictures, kinds, _ = draw_pictures(random, 32)
    table = random.standard_normal((ROWS, 12)) + kinds[:, None]
    return Examples([pictures, table.astype("float32")], kinds)


def _boxes(random: np.random.Generator) -> Examples:
    pictures, kinds, places = draw_pictures(random, 48)
    return Examples(pictures, {"box": places.astype("float32"), "kind": kinds})


def _noisy(random: np.random.Generator) -> Examples:
    pictures, _, _ = draw_pictures(random, 32, 1)
    noise = 0.1 * random.standard_normal(pictures.shape).astype("float32")
    return Examples((pictures + noise).clip(0, 1), pictures)


def _tones(steps: int, channels: int) -> Callable[[np.random.Generator], Examples]:
    def draw(random: np.random.Generator) -> Examples:
        kinds = np.arange(ROWS) % CLASSES
        time = np.arange(steps)[None, :, None] / steps
        pitch = (2.0 + 3.0 * kinds)[:, None, None] * random.uniform(0.9, 1.1, (1, 1, channels))
        waves = np.sin(2 * np.pi * (pitch * time + random.uniform(0, 1, (ROWS, 1, channels))))
        return Examples((waves * random.uniform(0.5, 1, (ROWS, 1, 1))).astype("float32"), kinds)

    return draw


def _words(positive_or_not: bool) -> Callable[[np.random.Generator], Examples]:
    def draw(random: np.random.Generator) -> Examples:
        kinds = np.arange(ROWS) % (2 if positive_or_not else CLASSES)
        words = random.integers(0, 100, (ROWS, 24))
        its_own = random.random(words.shape) < 0.4
        words = np.where(its_own, kinds[:, None] * 20 + words % 5, words).astype("int32")
        return Examples(words, kinds[:, None].astype("float32") if positive_or_not else kinds)

    return draw


def _rows(random: np.random.Generator) -> Examples:
    rows = random.standard_normal((ROWS, 30)).astype("float32")
    return Examples(rows, np.tanh(rows[:, :1]) + rows[:, 1:2] * rows[:, 2:3])


def _application(name: str, side: int, low: float, high: float) -> UserModel:
    def build() -> keras.Model:
        make = getattr(keras.applications, name)
        return make(weights=None, input_shape=(side, side, 3), classes=CLASSES)

    def draw(random: np.random.Generator) -> Examples:
        pictures, kinds, _ = draw_pictures(random, side)
        return Examples(low + (high - low) * pictures, kinds)

    return UserModel(f"`keras.applications.{name}`, {side}x{side}", build, draw)


_CLASSES = "sparse_categorical_crossentropy"
MODELS = {
    "mini_xception": UserModel("mini-Xception, grey 64x64", mini_xception, _kinds(64, 1), _CLASSES),
    "u_net": UserModel("U-Net, segmentation", u_net, _masks, _CLASSES),
    "regression": UserModel("regression on images", regression, _radii, "mse"),
    "two_inputs": UserModel("image and table", two_inputs, _with_table, _CLASSES),
    "detector": UserModel(
        "detector, two heads", detector, _boxes, {"box": "mse", "kind": _CLASSES}
    ),
    "autoencoder": UserModel("denoising autoencoder", autoencoder, _noisy, "binary_crossentropy"),
    "audio": UserModel("Conv1D on audio", audio, _tones(1600, 1), _CLASSES),
    "lstm": UserModel("LSTM on sequences", lstm, _tones(28, 12), _CLASSES),
    "bidirectional_gru": UserModel(
        "bidirectional GRU on words", bidirectional_gru, _words(True), "binary_crossentropy"
    ),
    "tabular": UserModel("MLP on a table", tabular, _rows, "mse"),
    "transformer": UserModel("transformer encoder", transformer, _words(False), _CLASSES),
    "xception": _application("Xception", 71, -1, 1),
    "nasnet": _application("NASNetMobile", 32, -1, 1),
    "convnext": _application("ConvNeXtTiny", 32, 0, 255),
    "efficientnet": _application("EfficientNetV2B0", 32, 0, 255),
    "mobilenet": _application("MobileNetV3Small", 32, 0, 255),
    "densenet": _application("DenseNet121", 32, -1, 1),
}
