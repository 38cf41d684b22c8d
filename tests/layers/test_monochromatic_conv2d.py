"""MonochromaticConv2D's formula; what all factorised convolutions do is tested with them."""

import keras
import numpy as np
from keras import ops

from tests import checks
from tests.layers.test_factorised_conv2d import draw, with_weights
from tfcompress.layers import MonochromaticConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 4), (6, 6, 3))


def test_kernel_is_each_filters_colour_times_its_window():
    layer = with_weights(MonochromaticConv2D(5, (3, 2), rank=2), 4)
    layer.color.assign([1, 0, 0, 1, 1])
    colors, spatial, _, color = (ops.convert_to_numpy(w).astype("f8") for w in layer.weights)
    expected = np.zeros((3, 2, 4, 5))
    for n in range(5):
        for c in range(4):
            expected[:, :, c, n] = colors[0, 0, c, int(color[n])] * spatial[:, :, n, 0]
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-5)


def test_monochromatic_filters_are_held_exactly():
    """Also those that share a colour, whatever its sign."""
    colors, windows = draw((3, 4)), draw((5, 5, 12), 1)
    shared = np.arange(12) % 4
    kernel = colors[:, shared] * np.where(np.arange(12) < 6, 1, -1) * windows[:, :, None]
    conv = with_weights(keras.layers.Conv2D(12, 5, strides=2, padding="same"), 3)
    conv.kernel.assign(kernel)
    layer = MonochromaticConv2D.from_conv(conv, rank=4)
    assert layer.decomposition_error < 1e-5
    x = draw((2, 9, 8, 3))
    checks.assert_same(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(conv(x)), atol=1e-4)
    # A colour for each filter at most.
    assert MonochromaticConv2D.from_conv(conv, rank=40).rank == 12
