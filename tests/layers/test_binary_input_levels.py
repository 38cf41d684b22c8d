"""BinaryConv2D with inputs of two bits; of one bit: test_binary_conv2d.py."""

import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers.test_binary_conv2d import FILTERS, draw, expanded, geometry, images
from tfcompress.layers import BinaryConv2D


def with_levels(x, **options):
    """The layer with inputs of 2 bits, and the levels that it must see."""
    layer = BinaryConv2D(FILTERS, 3, input_bits=2, **options)
    layer.build(x.shape)
    kernel = 0.8 * draw(layer.kernel.shape, 1)
    layer.set_weights([kernel, draw((FILTERS,), 2), np.float32(0.37)])
    return layer, np.clip(np.floor(x.astype("float64") / np.float32(0.37) + 0.5), 0, 3)


@pytest.mark.parametrize(
    "options", [{}, {"padding": "same"}, {"strides": 2, "padding": "same", "groups": 2}]
)
def test_two_bits_of_input(options):
    x = images((7, 6), 4)
    layer, levels = with_levels(x, **options)
    seen = 0.37 * levels
    expected = checks.conv2d(seen, expanded(layer), pad_value=0.0, **geometry(layer))
    expected = expected + ops.convert_to_numpy(layer.bias)
    actual = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *actual.shape[1:])
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer.lower()(inputs))
    checks.assert_same(checks.predict(model, x), actual)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(kernel, np.float32(0.37) * expanded(layer), rtol=1e-6)


def test_the_step_of_two_bits_is_saved_and_trained(tmp_path):
    keras.utils.set_random_seed(0)
    x = images((6, 6), 3)
    layer = BinaryConv2D(2, 3, strides=2, padding="same", input_bits=2)
    model = keras.Sequential([keras.Input((6, 6, 3)), layer])
    loaded = checks.save_and_load(model, tmp_path)
    np.testing.assert_array_equal(checks.predict(loaded, x), checks.predict(model, x))
    before = model.get_weights()
    assert layer.count_params() == 3 * 3 * 3 * 2 + 2 + 1
    checks.train_one_step(model, x, draw((2, 3, 3, 2)))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert (old != new).all()


@pytest.mark.parametrize(
    "options", [{"input_bits": 3}, {"input_bits": 2, "binarize_inputs": False}]
)
def test_bad_input_bits(options):
    with pytest.raises(ValueError, match=r"input_bits must be 1 or 2.*input_bits="):
        BinaryConv2D(4, 3, **options)
