import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers import compact
from tests.layers.compact import bn, depthwise, draw, numbers, predict, with_weights
from tfcompress import graph
from tfcompress.layers import EffNetBlock

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8,), (6, 6, 16))

# Image size, and the layer.
CASES = [
    pytest.param((6, 8), {"filters": 4}, id="halved"),
    pytest.param((5, 7), {"filters": 3, "bottleneck_filters": 5, "kernel_size": 5}, id="odd"),
    pytest.param((4, 5), {"filters": 4, "strides": 1, "activation": "relu"}, id="stride-1"),
]
each = pytest.mark.parametrize(("size", "options"), CASES)


def naive(layer, x):
    slope = 0.0 if layer.activation is keras.activations.relu else 0.2

    def done(x, layer_bn):
        x = bn(x, layer_bn)
        return np.where(x > 0, x, slope * x)

    x = done(checks.conv2d(x, numbers(layer.pointwise.kernel)), layer.pointwise_bn)
    x = done(depthwise(x, numbers(layer.row.kernel), padding="same"), layer.row_bn)
    if layer.strides == 2:
        pairs = x.shape[2] // 2
        x = np.maximum(x[:, :, 0 : 2 * pairs : 2], x[:, :, 1 : 2 * pairs : 2])
    x = done(depthwise(x, numbers(layer.column.kernel), padding="same"), layer.column_bn)
    last = numbers(layer.last.kernel)
    assert last.shape[:2] == (2, 1)
    x = checks.conv2d(x, last, strides=(layer.strides, 1), padding="same")
    return done(x, layer.last_bn)


@each
def test_forward_is_the_loops(size, options):
    x = draw((2, *size, 3))
    layer = with_weights(EffNetBlock(**options), x)
    actual = predict(layer, x)
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-3, atol=1e-4)
    assert layer.compute_output_shape((None, *size, 3)) == (None, *actual.shape[1:])


@each
def test_config_saving_and_lowering(size, options, tmp_path):
    x = draw((2, *size, 3))
    layer = with_weights(EffNetBlock(**options), x)
    compact.assert_config_round_trip(layer)
    compact.assert_same_after_saving(layer, x, tmp_path)
    compact.assert_lowered_is_the_same(layer, x)


def test_training_and_half_precision():
    x = draw((4, 6, 6, 3))
    compact.assert_every_weight_moves(EffNetBlock(4), x)
    compact.assert_works_in_half_precision(EffNetBlock, x, 4)


def test_counts():
    """The paper's first block for CIFAR-10: 32 and 64 filters on the image."""
    inputs = keras.Input((32, 32, 3))
    (row,) = graph.count(keras.Model(inputs, EffNetBlock(64)(inputs)))
    assert row.output_shape == (None, 16, 16, 64)
    assert row.parameters == 3 * 32 + 3 * 32 + 3 * 32 + 2 * 32 * 64 + 2 * (3 * 32 + 64)
    wide, narrow, small = 32 * 32, 32 * 16, 16 * 16
    assert row.macs == wide * (3 * 32 + 3 * 32) + narrow * 3 * 32 + small * 2 * 32 * 64


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
@each
def test_file(size, options, tmp_path):
    x = draw((3, *size, 3))
    compact.assert_export_is_the_same(with_weights(EffNetBlock(**options), x), x, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be.*filters=0"),
        ({"bottleneck_filters": 0}, "bottleneck_filters must be.*=0"),
        ({"kernel_size": 0}, "kernel_size must be.*=0"),
        ({"strides": 4}, "strides must be 1 or 2.*strides=4"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        EffNetBlock(**{"filters": 4, **options})


def test_activation_is_leaky_relu_unless_told_otherwise():
    """The paper's, with Keras's slope: 0.2 below 0."""
    layer = EffNetBlock(4)
    values = ops.convert_to_numpy(layer.row_act(np.array([-1.0, 0.0, 2.0], "float32")))
    np.testing.assert_allclose(values, [-0.2, 0.0, 2.0])
    assert layer.get_config()["activation"] == "leaky_relu"
