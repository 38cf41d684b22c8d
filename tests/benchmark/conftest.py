"""A tiny `.tflite` file, exported once per session."""

import pathlib

import pytest


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory) -> pathlib.Path:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("exporting needs Keras's TensorFlow backend")
    keras.utils.set_random_seed(7)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(x)))
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    signature = [keras.InputSpec(shape=(1, 8, 8, 3), dtype="float32")]
    model.export(str(path), format="litert", input_signature=signature, verbose=False)
    return path
