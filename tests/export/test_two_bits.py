"""Weights of 2 bits in a file of integers."""

import keras
import numpy as np
from keras import layers

from tfcompress.export import calibrate, convert
from tfcompress.export.two_bits import nearest
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
    """By what they make of inputs behind a ReLU, over a fine search of all steps."""
    rows = np.random.default_rng(0).normal(size=(6, 200)) * np.arange(6)[:, None]
    codes, steps = nearest(rows)
    assert steps[0] == 0
    assert not codes[0].any()
    inputs = np.maximum(np.random.default_rng(1).normal(size=10**6), 0)
    spread, mean = inputs.var(), inputs.mean()

    def cost(row, rounded):
        error = row - rounded
        return spread * np.square(error).sum() + (mean * error.sum()) ** 2

    ratios = []
    for row, code, step in zip(rows[1:], codes[1:], steps[1:], strict=True):
        best = min(
            cost(row, size * np.clip(np.round(row / size), low, 1))
            for size in np.linspace(0.1, 1, 400) * np.abs(row).max()
            for low in (-1, -2)
        )
        ratios.append(cost(row, step * code) / best)
    assert np.mean(ratios) < 1.02
    assert max(ratios) < 1.1


def test_inputs_of_one_sign_keep_the_outputs_mean():
    """The lowest of four values has no partner: the nearest weights alone would move it."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(16, 1000))
    codes, steps = nearest(rows)
    inputs = np.maximum(random.normal(size=(500, 1000)), 0)
    expected, made = inputs @ rows.T, inputs @ (codes * steps[:, None]).T
    moved = np.abs((made - expected).mean(axis=0))
    assert moved.max() < 0.2 * expected.std()
    assert relative_rms(expected, made) < 0.4


def test_ternary_filters_among_others():
    """Weights of three values beside others of many, which lie on no grid."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(2, 300))
    rows[0] = 0.3 * random.integers(-1, 2, 300)
    codes, steps = nearest(rows)
    np.testing.assert_allclose(codes[0] * steps[0], rows[0], atol=1e-6)
