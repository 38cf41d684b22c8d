"""Filters without weights, or with next to none, whose output is their bias."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.export import export
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.training import logits


@pytest.mark.parametrize("storage", ["int8", "int8_int4"])
def test_their_bias_is_held(storage, tmp_path):
    """The weights lie on both grids: what is left is the rounding of activations."""
    random = np.random.default_rng(0)
    x = image = keras.Input((6, 6, 4))
    x = layers.Conv2D(8, 3)(x)
    x = layers.DepthwiseConv2D(3)(x)
    net = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    for layer in net.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            codes = random.integers(-7, 8, kernel.shape).astype("float32")
            codes.reshape(-1, len(bias))[0] = 7
            if not isinstance(layer, layers.Dense):
                codes.reshape(-1, len(bias))[:, :2] = 0
                codes.reshape(-1, len(bias))[:, 2] *= 1e-12
            layer.set_weights([0.02 * codes, random.normal(size=bias.shape)])
    x = random.normal(size=(60, 6, 6, 4)).astype("float32")
    path = tmp_path / "m.tflite"
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # Of numbers that no integer holds.
        export(net, path, storage=storage, calibration=x, io="float32")
    assert relative_rms(logits(net, x), LiteModel(path).predict(x)) < 0.02
