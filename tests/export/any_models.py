"""Small models of every kind that Keras's users have, each with inputs as `fit` takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

# Rows of data that each model is given.
ROWS = 200


def _seeded(name: str) -> np.random.Generator:
    keras.utils.set_random_seed(sum(map(ord, name)))
    return np.random.default_rng(len(name))


def _normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal((ROWS, *shape)).astype("float32")


def image_and_table() -> tuple[keras.Model, Any]:
    random = _seeded("image_and_table")
    image, table = keras.Input((12, 12, 3), name="image"), keras.Input((5,), name="table")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(image))
    x = layers.Concatenate()([x, layers.Dense(8, activation="relu")(table)])
    model = keras.Model([image, table], layers.Dense(4, activation="softmax", name="kind")(x))
    return model, [_normal(random, 12, 12, 3), _normal(random, 5)]


def dict_inputs() -> tuple[keras.Model, Any]:
    random = _seeded("dict_inputs")
    inputs = {"wide": keras.Input((7,), name="wide"), "deep": keras.Input((9,), name="deep")}
    x = layers.Dense(16, activation="relu")(inputs["deep"])
    x = layers.Concatenate()([x, inputs["wide"]])
    return keras.Model(inputs, layers.Dense(1, name="price")(x)), {
        "deep": _normal(random, 9),
        "wide": _normal(random, 7),
    }


def nested_outputs() -> tuple[keras.Model, Any]:
    random = _seeded("nested_outputs")
    inputs = keras.Input((10,), name="features")
    x = layers.Dense(12, activation="relu")(inputs)
    outputs = {
        "label": layers.Dense(3, activation="softmax", name="label")(x),
        "more": [layers.Dense(2, name="offset")(x), layers.Dense(1, name="size")(x)],
    }
    return keras.Model(inputs, outputs), _normal(random, 10)


def two_heads() -> tuple[keras.Model, Any]:
    random = _seeded("two_heads")
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = layers.SeparableConv2D(12, 3, activation="relu")(x)
    boxes = layers.Conv2D(4, 1, name="boxes")(x)
    scores = layers.Conv2D(3, 1, activation="sigmoid", name="scores")(x)
    return keras.Model(image, [scores, boxes]), _normal(random, 16, 16, 3)


def lstm() -> tuple[keras.Model, Any]:
    random = _seeded("lstm")
    inputs = keras.Input((12, 6), name="sequence")
    x = layers.LSTM(16, return_sequences=True)(inputs)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.LSTM(8)(x)))
    return model, _normal(random, 12, 6)


def bidirectional_gru() -> tuple[keras.Model, Any]:
    random = _seeded("bidirectional_gru")
    inputs = keras.Input((10, 6), name="sequence")
    x = layers.Bidirectional(layers.GRU(8))(inputs)
    return keras.Model(inputs, layers.Dense(3)(x)), _normal(random, 10, 6)


def conv1d() -> tuple[keras.Model, Any]:
    random = _seeded("conv1d")
    inputs = keras.Input((64, 2), name="audio")
    x = layers.Conv1D(8, 5, strides=2, activation="relu")(inputs)
    x = layers.SeparableConv1D(12, 3, activation="relu")(x)
    x = layers.MaxPooling1D()(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(x)), _normal(random, 64, 2)


def tabular() -> tuple[keras.Model, Any]:
    random = _seeded("tabular")
    model = keras.Sequential(
        [
            keras.Input((13,), name="row"),
            layers.Dense(32, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, name="value"),
        ]
    )
    return model, _normal(random, 13)


def transformer() -> tuple[keras.Model, Any]:
    random = _seeded("transformer")
    inputs = keras.Input((12,), dtype="int32", name="tokens")
    x = layers.Embedding(50, 16)(inputs)
    x = layers.Add()([x, layers.Dense(16)(x)])
    attended = layers.MultiHeadAttention(2, 8)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    y = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    return model, random.integers(0, 50, (ROWS, 12), "int32")


def autoencoder() -> tuple[keras.Model, Any]:
    random = _seeded("autoencoder")
    inputs = keras.Input((16, 16, 1), name="noisy")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(x)
    return keras.Model(inputs, x), random.random((ROWS, 16, 16, 1), "float32")


def u_net() -> tuple[keras.Model, Any]:
    random = _seeded("u_net")
    inputs = keras.Input((16, 16, 3), name="image")
    first = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D()(first)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(8, 2, strides=2)(x)
    x = layers.Concatenate()([x, first])
    mask = layers.Conv2D(3, 1, activation="softmax", name="mask")(x)
    return keras.Model(inputs, mask), _normal(random, 16, 16, 3)


def _image_model(name: str, shape: tuple[int | None, ...], *first: Any) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape, name="image"),
            *first,
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.SeparableConv2D(12, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ],
        name=name,
    )


def grey() -> tuple[keras.Model, Any]:
    random = _seeded("grey")
    return _image_model("grey", (16, 16, 1)), _normal(random, 16, 16, 1)


def four_channels() -> tuple[keras.Model, Any]:
    random = _seeded("four_channels")
    return _image_model("four_channels", (16, 16, 4)), _normal(random, 16, 16, 4)


def video() -> tuple[keras.Model, Any]:
    random = _seeded("video")
    inputs = keras.Input((4, 8, 8, 3), name="video")
    x = layers.Conv3D(6, 3, padding="same", activation="relu")(inputs)
    x = layers.TimeDistributed(layers.Conv2D(6, 3, activation="relu"))(x)
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(inputs, layers.Dense(3)(x)), _normal(random, 4, 8, 8, 3)


def channels_first() -> tuple[keras.Model, Any]:
    random = _seeded("channels_first")
    inputs = keras.Input((3, 12, 12), name="image")
    x = layers.Conv2D(8, 3, padding="same", data_format="channels_first")(inputs)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.ReLU()(x)
    x = layers.MaxPooling2D(data_format="channels_first")(x)
    x = layers.SeparableConv2D(8, 3, data_format="channels_first")(x)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x)), _normal(random, 3, 12, 12)


def rescaling() -> tuple[keras.Model, Any]:
    random = _seeded("rescaling")
    model = _image_model(
        "rescaling", (20, 20, 3), layers.Resizing(12, 12), layers.Rescaling(1 / 127.5, -1.0)
    )
    return model, random.integers(0, 256, (ROWS, 20, 20, 3)).astype("float32")


def pixels() -> tuple[keras.Model, Any]:
    """Takes bytes as they are: an input of uint8."""
    random = _seeded("pixels")
    inputs = keras.Input((12, 12, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
    return model, random.integers(0, 256, (ROWS, 12, 12, 3)).astype("uint8")


def preprocessed_table() -> tuple[keras.Model, Any]:
    random = _seeded("preprocessed_table")
    numbers, kinds = (
        keras.Input((3,), name="numbers"),
        keras.Input((1,), dtype="int32", name="kind"),
    )
    values = (10 + 5 * random.standard_normal((ROWS, 3))).astype("float32")
    normalise = layers.Normalization()
    normalise.adapt(values)
    one_hot = layers.CategoryEncoding(4, output_mode="one_hot")(kinds)
    x = layers.Concatenate()([normalise(numbers), one_hot])
    x = layers.Dense(8, activation="relu")(x)
    model = keras.Model({"numbers": numbers, "kind": kinds}, layers.Dense(1, name="price")(x))
    return model, {"numbers": values, "kind": random.integers(0, 4, (ROWS, 1)).astype("int32")}


def text() -> tuple[keras.Model, Any]:
    _seeded("text")
    split = layers.TextVectorization(vocabulary=["good", "bad", "film"], output_sequence_length=4)
    inputs = keras.Input((), dtype="string", name="review")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(5, 4)(split(inputs)))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    return model, np.array(["a good film", "a bad film"] * (ROWS // 2))


def any_length() -> tuple[keras.Model, Any]:
    random = _seeded("any_length")
    inputs = keras.Input((None, 6), name="sequence")
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3)(x)), _normal(random, 20, 6)


def any_length_lstm() -> tuple[keras.Model, Any]:
    random = _seeded("any_length_lstm")
    inputs = keras.Input((None, 6), name="sequence")
    return keras.Model(inputs, layers.Dense(3)(layers.LSTM(8)(inputs))), _normal(random, 9, 6)


def any_size() -> tuple[keras.Model, Any]:
    random = _seeded("any_size")
    return _image_model("any_size", (None, None, 3)), _normal(random, 18, 14, 3)


def half() -> tuple[keras.Model, Any]:
    random = _seeded("half")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return _image_model("half", (16, 16, 3)), _normal(random, 16, 16, 3)
    finally:
        keras.config.set_dtype_policy(before)


def pure_half() -> tuple[keras.Model, Any]:
    random = _seeded("pure_half")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        inputs = keras.Input((9,), dtype="float16", name="row")
        model = keras.Model(inputs, layers.Dense(2)(layers.Dense(8, activation="relu")(inputs)))
        return model, _normal(random, 9).astype("float16")
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("tests")
class Scaled(layers.Layer):
    """A layer of a user's own, with a configuration."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gain")

    def call(self, inputs: Any) -> Any:
        return self.factor * self.gain * inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def custom_layer() -> tuple[keras.Model, Any]:
    random = _seeded("custom_layer")
    inputs = keras.Input((9,), name="row")
    x = Scaled(0.5)(layers.Dense(8, activation="relu")(inputs))
    return keras.Model(inputs, layers.Dense(2)(x)), _normal(random, 9)


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = layers.Dense(8, activation="relu"), layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        return self.last(self.first(inputs))


def subclassed() -> tuple[keras.Model, Any]:
    random = _seeded("subclassed")
    model, x = Subclassed(), _normal(random, 9)
    model(x)
    return model, x


MODELS: dict[str, Callable[[], tuple[keras.Model, Any]]] = {
    function.__name__: function
    for function in (
        image_and_table,
        dict_inputs,
        nested_outputs,
        two_heads,
        lstm,
        bidirectional_gru,
        conv1d,
        tabular,
        transformer,
        autoencoder,
        u_net,
        grey,
        four_channels,
        video,
        channels_first,
        rescaling,
        pixels,
        preprocessed_table,
        text,
        any_length,
        any_length_lstm,
        any_size,
        half,
        pure_half,
        custom_layer,
        subclassed,
    )
}


@functools.cache
def made(name: str) -> tuple[keras.Model, Any]:
    """A model and its inputs, made once."""
    return MODELS[name]()


def predicted(model: keras.Model, x: Any) -> list[np.ndarray]:
    """Keras's outputs, in its order."""
    return [np.asarray(y) for y in keras.tree.flatten(model.predict(x, verbose=0))]
