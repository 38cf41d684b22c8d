import keras
import numpy as np
import pytest

from tests import checks
from tests.layers import compact
from tests.layers.compact import draw, numbers, predict, relu, with_weights
from tfcompress import graph
from tfcompress.layers import Fire

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((2, 4), (6, 6, 16))


def naive(layer, x):
    def conv(part, x):
        same = checks.conv2d(x, numbers(part.kernel), padding="same")
        return relu(same + numbers(part.bias))

    squeezed = conv(layer.squeeze1x1, x)
    left, right = conv(layer.expand1x1, squeezed), conv(layer.expand3x3, squeezed)
    return np.concatenate([left, right], axis=-1)


@pytest.mark.parametrize("filters", [(2, 3), (3, 2, 4)])
def test_forward_is_the_loops(filters):
    x = draw((2, 5, 4, 3))
    layer = with_weights(Fire(*filters), x)
    actual = predict(layer, x)
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape((None, 5, 4, 3)) == (None, *actual.shape[1:])


def test_counts():
    """fire2 of SqueezeNet, from the paper's table 1: 16, 64 and 64 filters on 96 channels."""
    inputs = keras.Input((55, 55, 96))
    (row,) = graph.count(keras.Model(inputs, Fire(16, 64)(inputs)))
    products = 96 * 16 + 16 * 64 + 9 * 16 * 64
    assert row.parameters == products + 16 + 64 + 64 == 11_920
    assert row.macs == 55 * 55 * products


def test_is_squeezenets_module():
    """The same function as the stock layers of the builder, with the same weights."""
    from tfcompress import models

    whole = models.build("squeezenet", (32, 32, 3), 10)
    start, end = whole.get_layer("pool1").output, whole.get_layer("fire2_concat").output
    model = keras.Model(start, end)
    x = draw((2, *start.shape[1:]))
    layer = Fire(16, 64)
    layer.build(x.shape)
    for name in ("squeeze1x1", "expand1x1", "expand3x3"):
        getattr(layer, name).set_weights(whole.get_layer(f"fire2_{name}").get_weights())
    np.testing.assert_allclose(predict(layer, x), checks.predict(model, x), atol=1e-6)


def test_config_saving_training_precision_and_lowering(tmp_path):
    x = draw((2, 5, 4, 3))
    layer = with_weights(Fire(2, 3, 4, kernel_initializer="he_normal"), x)
    compact.assert_config_round_trip(layer)
    compact.assert_same_after_saving(layer, x, tmp_path)
    compact.assert_every_weight_moves(Fire(4, 3), x)
    compact.assert_works_in_half_precision(Fire, x, 2, 3)
    compact.assert_lowered_is_the_same(layer, x)


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
def test_file(tmp_path):
    x = draw((3, 6, 6, 4))
    written = compact.assert_export_is_the_same(with_weights(Fire(2, 4), x), x, tmp_path)
    assert written.ops == {"CONV_2D": 3, "CONCATENATION": 1}


@pytest.mark.parametrize("filters", [(0, 4), (4, 0), (4, 4, 0)])
def test_bad_arguments(filters):
    with pytest.raises(ValueError, match=r"filters must be a whole number, 1 or more.*=0"):
        Fire(*filters)
