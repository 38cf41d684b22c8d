"""Weights of 2 bits in a file of integers."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.export import calibrate, convert
from tfcompress.export.two_bits import steps_for
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.weighted_ops import with_constant_weights
from tfcompress.training import logits


def net_on_grids():
    """Convolutions of each kind, and a dense layer, with weights -2s, -s, 0 and s."""
    x = image = keras.Input((9, 11, 4))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(12, 1, use_bias=False)(x)
    x = layers.Conv2D(8, (3, 2), dilation_rate=2, padding="same", activation="relu6")(x)
    x = layers.Conv2D(6, 3)(x)
    x = layers.Flatten()(x)
    net = keras.Model(image, layers.Dense(5)(x))
    random = np.random.default_rng(0)
    for layer in net.layers:
        if layer.weights:
            kernel, *bias = layer.get_weights()
            codes = random.integers(-2, 2, kernel.shape).astype("float32")
            codes[..., 0] = 0  # A filter of zeros has its bias, if that.
            scales = random.uniform(0.05, 0.15, kernel.shape[-1:]).astype("float32")
            layer.set_weights([codes * scales, *(random.normal(size=b.shape) for b in bias)])
    return net


def test_what_2_bits_hold_is_computed_without_error(tmp_path):
    net, x = net_on_grids(), np.random.default_rng(1).normal(size=(60, 9, 11, 4)).astype("float32")
    floats = tmp_path / "float.tflite"
    convert.float_file(net, floats)
    ranges = calibrate.ranges(floats, x)
    outputs = [op.outputs[0].name for op in with_constant_weights(read(floats))]
    path = tmp_path / "m.tflite"
    calibrate.integer_file(floats, path, ranges, bits=dict.fromkeys(outputs, 2))
    assert relative_rms(logits(net, x), LiteModel(path).predict(x)) < 0.02
    content = read(path)
    kinds = {(op.name, op.inputs[1].dtype) for op in with_constant_weights(content)}
    assert kinds == {("FULLY_CONNECTED", "int2")}
    assert content.weight_bytes["int2"] * 4 == sum(
        np.prod(layer.kernel.shape) for layer in net.layers if layer.weights
    )
    assert "QUANTIZE" not in content.op_counts()


def test_other_weights_get_the_nearest_grid():
    rows = np.random.default_rng(0).normal(size=(6, 200)) * np.arange(6)[:, None]
    steps = steps_for(rows)
    assert steps[0] == 0

    def error(row, step):
        return np.square(row - step * np.clip(np.round(row / step), -2, 1)).sum()

    for row, step in zip(rows[1:], steps[1:], strict=True):
        best = min(error(row, share * np.abs(row).max()) for share in np.linspace(0.1, 1, 400))
        assert error(row, step) == pytest.approx(best, rel=0.01)
