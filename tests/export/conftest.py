"""Nets whose every weight differs from its first value, and images for them."""

import hashlib
import os

import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.conftest import randomise
from tfcompress import kernels
from tfcompress.export import convert
from tfcompress.layers import BinaryConv2D, BinaryDense

if keras.backend.backend() != "tensorflow":
    pytest.skip("exporting needs Keras's TensorFlow backend", allow_module_level=True)

SIZE = 15
# With it in the environment each test asks the converter itself; see test_uncached.py.
UNCACHED = "TFCOMPRESS_TESTS_UNCACHED"


def binary_net(*, inputs=True, kernel=True, input_bits=1, seed=0):
    """Odd sizes, strides, both paddings, a residual addition, pooling and a binary dense layer."""
    keras.utils.set_random_seed(seed)
    what = {"binarize_inputs": inputs, "binarize_kernel": kernel, "input_bits": input_bits}
    x = image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="first")(x)
    x = layers.BatchNormalization(name="bn1")(x)
    x = BinaryConv2D(12, 3, strides=2, padding="same", name="strided", **what)(x)
    x = skip = layers.PReLU(shared_axes=[1, 2], alpha_initializer="uniform", name="act")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    x = BinaryConv2D(12, (3, 2), padding="same", name="same", **what)(x)
    x = layers.Add(name="add")([x, skip])
    x = layers.BatchNormalization(name="bn3")(x)
    x = BinaryConv2D(8, 3, padding="valid", name="valid", use_bias=False, **what)(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.BatchNormalization(name="bn4")(x)
    x = BinaryDense(20, name="hidden", activation="relu", **what)(x)
    model = keras.Model(image, layers.Dense(5, name="scores")(x), name="binary_net")
    return randomise(model, seed)


# Weights of the layers that a storage may write as bytes, and of the others.
BINARY_WEIGHTS = 9 * 8 * 12 + 6 * 12 * 12 + 9 * 12 * 8 + 3 * 3 * 8 * 20
FLOAT_WEIGHTS = 9 * 3 * 8 + 20 * 5


def real_images(count=50, seed=1, size=SIZE):
    return np.random.default_rng(seed).normal(size=(count, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def converted_once():
    """The converter, half of this room's time, is asked once for a network that many tests export.

    Its file hangs on the layers, their names, their weights and the converter's settings alone.
    """
    if os.environ.get(UNCACHED):
        yield
        return
    made: dict[str, bytes] = {}
    convert_model = convert.float_file

    def float_file(model, path, **converter):
        if keras.backend.backend() != "tensorflow":
            return convert_model(model, path, **converter)
        key = hashlib.sha256(repr((model.to_json(), converter)).encode())
        for weight in model.get_weights():
            key.update(weight.tobytes())
        if key.digest() not in made:
            convert_model(model, path, **converter)
            made[key.digest()] = path.read_bytes()
        path.write_bytes(made[key.digest()])
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "float_file", float_file)
        yield


@pytest.fixture(scope="session")
def net():
    return binary_net()


@pytest.fixture(scope="session")
def images():
    return real_images()


@pytest.fixture
def only_portable(monkeypatch):
    """A processor without the instructions of our fast kernels."""
    monkeypatch.delenv("TFCOMPRESS_KERNEL", raising=False)
    monkeypatch.setattr(kernels.load, "names", lambda: ("portable",))
    kernels.load._print_once.cache_clear()


@pytest.fixture
def no_kernels(monkeypatch):
    """A machine without a C compiler, on which nothing was said about it yet."""

    def none():
        raise kernels.BuildError("no C compiler: none of cc, gcc and clang is there")

    for name in ("library", "names"):
        monkeypatch.setattr(kernels.load, name, none)
    kernels.load._print_once.cache_clear()
