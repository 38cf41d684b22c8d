import keras
import numpy as np
import pytest

from tests import checks
from tests.layers import compact
from tests.layers.compact import bn, depthwise, draw, numbers, predict, relu, with_weights
from tests.layers.test_channel_shuffle import naive as shuffled
from tfcompress import graph
from tfcompress.layers import ShuffleUnit

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((16, 2), (6, 6, 16))

# Channels of the input, and the layer.
CASES = [
    pytest.param(8, {"filters": 8, "groups": 2}, id="stride-1"),
    pytest.param(6, {"filters": 24, "groups": 3, "strides": 2}, id="stride-2"),
    pytest.param(4, {"filters": 16, "groups": 2, "strides": 2, "group_first": False}, id="first"),
]
each = pytest.mark.parametrize(("channels", "options"), CASES)


def mean_pool(x):
    """3x3 by 2, padded as little as ceil(size / 2) needs; the padding doesn't count."""
    pads = checks.same_pads(x.shape[1:3], (3, 3), (2, 2), (1, 1))
    padded = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=np.nan)
    rows, columns = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
    out = np.empty((len(x), rows, columns, x.shape[3]))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = np.nanmean(padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], axis=(1, 2))
    return out


def naive(layer, x):
    groups = layer.groups
    first = groups if layer.group_first else 1
    y = checks.conv2d(x, numbers(layer.reduce.kernel), groups=first)
    y = shuffled(relu(bn(y, layer.reduce_bn)), groups)
    strides = (layer.strides, layer.strides)
    y = depthwise(y, numbers(layer.depthwise.kernel), strides=strides, padding="same")
    y = checks.conv2d(bn(y, layer.depthwise_bn), numbers(layer.expand.kernel), groups=groups)
    y = bn(y, layer.expand_bn)
    if layer.strides == 1:
        return relu(x + y)
    return relu(np.concatenate([mean_pool(x), y], axis=-1))


@each
def test_forward_is_the_loops(channels, options):
    x = draw((2, 5, 6, channels))
    layer = with_weights(ShuffleUnit(**options), x)
    actual = predict(layer, x)
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-3, atol=1e-4)
    assert layer.compute_output_shape((None, 5, 6, channels)) == (None, *actual.shape[1:])


@each
def test_config_saving_and_lowering(channels, options, tmp_path):
    x = draw((2, 5, 6, channels))
    layer = with_weights(ShuffleUnit(**options), x)
    compact.assert_config_round_trip(layer)
    compact.assert_same_after_saving(layer, x, tmp_path)
    compact.assert_lowered_is_the_same(layer, x)


@each
def test_every_weight_moves(channels, options):
    compact.assert_every_weight_moves(ShuffleUnit(**options), draw((4, 5, 6, channels)))


def test_half_precision():
    compact.assert_works_in_half_precision(ShuffleUnit, draw((2, 4, 4, 8)), 8, 2)


def test_counts():
    """The paper's units for 3 groups: 240 channels at 28x28, and 240 to 480 on the way to 14x14."""
    inputs = keras.Input((28, 28, 240))
    (row,) = graph.count(keras.Model(inputs, ShuffleUnit(240, 3)(inputs)))
    products = 240 * 60 // 3 + 9 * 60 + 60 * 240 // 3
    assert row.parameters == products + 2 * 60 + 60 + 2 * 240
    assert row.macs == 28 * 28 * products
    (row,) = graph.count(keras.Model(inputs, ShuffleUnit(480, 3, 2)(inputs)))
    products = 240 * 120 // 3 + 9 * 120 + 120 * 240 // 3
    assert row.parameters == products + 2 * 120 + 120 + 2 * 240
    assert row.macs == 28 * 28 * 240 * 120 // 3 + 14 * 14 * (9 * 120 + 120 * 240 // 3)
    inputs = keras.Input((56, 56, 24))
    unit = ShuffleUnit(240, 3, 2, group_first=False)
    (row,) = graph.count(keras.Model(inputs, unit(inputs)))
    assert row.macs == 56 * 56 * 24 * 60 + 28 * 28 * (9 * 60 + 60 * 216 // 3)


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
@each
def test_file(channels, options, tmp_path):
    x = draw((3, 6, 6, channels))
    layer = with_weights(ShuffleUnit(**options), x)
    compact.assert_export_is_the_same(layer, x, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": 3}, "strides must be 1 or 2.*strides=3"),
        ({"groups": 0}, "groups must be.*groups=0"),
        ({"filters": 20}, r"multiple of 4 \* groups.*filters=20, groups=3"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ShuffleUnit(**{"filters": 24, **options})


@pytest.mark.parametrize(("strides", "channels"), [(1, 12), (2, 24), (2, 8)])
def test_channels_that_dont_fit(strides, channels):
    with pytest.raises(ValueError, match=rf"strides {strides} takes .*24 channels.*, {channels}\)"):
        ShuffleUnit(24, strides=strides)(draw((1, 4, 4, channels)))
