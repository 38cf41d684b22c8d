"""Tiny `.tflite` files, exported once per session, and the Keras model that they came from."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A Keras model, its float file, and its file with int8 input and output."""

    model: Any
    path: pathlib.Path
    int8_path: pathlib.Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Tiny:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("exporting needs Keras's TensorFlow backend")
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
    x = keras.layers.Conv2DTranspose(2, 2, strides=2)(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(x))

    folder = tmp_path_factory.mktemp("tiny")
    signature = [keras.InputSpec(shape=(1, 8, 8, 3), dtype="float32")]
    path = folder / "tiny.tflite"
    model.export(str(path), format="litert", input_signature=signature, verbose=False)

    saved = folder / "saved"
    model.export(str(saved), format="tf_saved_model", input_signature=signature, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    images = np.random.default_rng(1).standard_normal((32, 1, 8, 8, 3)).astype(np.float32)
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    int8_path = folder / "tiny_int8.tflite"
    int8_path.write_bytes(converter.convert())
    return Tiny(model, path, int8_path)
