"""The reference models of MLPerf Tiny, which Keras 2 saved, beside their float .tflite files.

They lie where MLPERF_TINY_DIR says, or in a folder `mlperf_tiny` beside the checkout.
"""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import checks
from tfcompress import models
from tfcompress.bridge import load_h5
from tfcompress.runtime import LiteModel

BESIDE = Path(__file__).resolve().parents[3].glob("*/mlperf_tiny")
FILES = Path(os.environ.get("MLPERF_TINY_DIR") or next(BESIDE, "absent"))
pytestmark = pytest.mark.skipif(
    not (FILES / "pretrainedResnet.h5").is_file(), reason="MLPerf Tiny's files aren't here"
)


def inputs(*shape):
    """Pixels from 0 to 255, or decibels."""
    random = np.random.default_rng(0)
    values = random.uniform(0, 255, shape) if len(shape) > 2 else random.normal(-10, 8, shape)
    return values.astype("float32")


@pytest.fixture(params=[models.load, load_h5], ids=["Keras 3", "bridge"])
def load(request):
    return request.param


def test_image_classification(load):
    model = load(FILES / "pretrainedResnet.h5")
    assert model.count_params() == models.build("resnet8", (32, 32, 3), 10).count_params()
    x = inputs(16, 32, 32, 3)
    expected = LiteModel(FILES / "pretrainedResnet.tflite").predict(x)
    np.testing.assert_allclose(checks.predict(model, x), expected, atol=1e-5)


def test_anomaly_detection(load):
    """Its .tflite file lacks the biases in front of batch normalisation; the model has them."""
    model = load(FILES / "ad01.h5")
    x = inputs(16, 640)
    expected = LiteModel(FILES / "ad01_fp32.tflite").predict(x)
    assert np.abs(checks.predict(model, x) - expected).max() > 1
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for layer in dense[:-1]:
        layer.bias.assign(np.zeros_like(layer.bias))
    np.testing.assert_allclose(checks.predict(model, x), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "shape", "outputs", "file"),
    [
        ("resnet8", (32, 32, 3), 10, "pretrainedResnet.h5"),
        ("toy_autoencoder", (640,), 640, "ad01.h5"),
    ],
)
def test_builders_take_the_weights_as_they_come(name, shape, outputs, file):
    reference, model = models.load(FILES / file), models.build(name, shape, outputs)
    model.set_weights(reference.get_weights())
    x = inputs(8, *shape)
    found = checks.predict(model, x)
    if name == "resnet8":
        found = keras.ops.softmax(found)
    np.testing.assert_allclose(found, checks.predict(reference, x), rtol=1e-4, atol=1e-5)
