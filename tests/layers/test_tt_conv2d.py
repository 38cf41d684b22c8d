"""TTConv2D's formula and counts; what all factorised convolutions do is tested with them."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.test_factorised_conv2d import draw, naive, with_weights
from tfcompress.layers import TTConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 2), (6, 6, 16))


def test_kernel_is_the_product_of_its_cores():
    layer = with_weights(TTConv2D(6, (3, 2), rank=2, input_modes=(2, 4), output_modes=(3, 2)), 8)
    g0, g1, g2, _ = (ops.convert_to_numpy(w).astype("float64") for w in layer.weights)
    g1, g2 = g1.reshape(2, 2, 3, 2), g2.reshape(2, 4, 2, 1)  # (bond, m, n, next bond)
    expected = np.zeros((3, 2, 8, 6))
    for i, j, c1, c2, n1, n2 in np.ndindex(3, 2, 2, 4, 3, 2):
        value = g0[i, j] @ g1[:, c1, n1] @ g2[:, c2, n2]
        expected[i, j, 4 * c1 + c2, 2 * n1 + n2] = value.item()
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-5)
    x = draw((1, 5, 6, 8))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), naive(layer, x), atol=1e-4)


def test_counts():
    """Channels 32 = 4 * 8, filters 64 = 8 * 8, bonds 4 and 4."""
    layer = with_weights(TTConv2D(64, 3, rank=4, padding="same"), 32)
    kernel = 9 * 4 + 4 * (4 * 8) * 4 + 4 * (8 * 8)
    assert layer.count_params() == kernel + 64
    assert layer.kernel_parameters((3, 3, 32, 64)) == kernel
    depthwise = 9 * 32 * 4
    products = 8 * (4 * 4) * (8 * 4) + 8 * (4 * 8) * 8
    assert layer.macs((None, 5, 6, 32), (None, 5, 6, 64)) == 5 * 6 * (depthwise + products)


def test_three_modes(tmp_path):
    layer = with_weights(
        TTConv2D(12, 3, rank=3, input_modes=(2, 2, 2), output_modes=(2, 3, 2), padding="same"), 8
    )
    x = draw((2, 4, 5, 8))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), naive(layer, x), atol=1e-3)
    assert TTConv2D.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_modes": (2, 4)}, r"their product 6.*output_modes=\(2, 4\)"),
        ({"input_modes": (2, 2), "output_modes": (1, 2, 3)}, "as many as input_modes"),
        ({"input_modes": (0, 4)}, "input_modes must be"),
    ],
)
def test_bad_modes(options, message):
    with pytest.raises(ValueError, match=message):
        TTConv2D(6, 3, rank=2, **options)


def test_modes_must_fit_the_channels():
    with pytest.raises(ValueError, match=r"product of input_modes=\(2, 2\)"):
        TTConv2D(6, 3, rank=2, input_modes=(2, 2))(keras.ops.ones((1, 5, 5, 8)))
