"""The per-filter quantizer against NumPy, one filter at a time."""

import numpy as np
import pytest

from tfcompress.bridge.legacy import tf_keras
from tfcompress.qat.quantizers import channel_quantizer, fixed_quantizer


def by_filter(kernel, depthwise):
    """Kernels of single filters, and the function that puts them together again."""
    if depthwise:  # (height, width, channels, multiplier): each of the last two is a filter.
        flat = kernel.reshape(*kernel.shape[:2], -1)
        return [flat[..., i] for i in range(flat.shape[-1])], lambda x: np.stack(x, -1).reshape(
            kernel.shape
        )
    # (height, width, filters, channels)
    return [kernel[:, :, i] for i in range(kernel.shape[2])], lambda x: np.stack(x, 2)


def rounded(values, largest):
    """Symmetric 8 bits without -128."""
    step = 2 * largest / 254
    return np.clip(np.round(values / step), -127, 127) * step


def quantizer_and_weights(depthwise, shape):
    quantizer = channel_quantizer()(depthwise)
    layer = tf_keras().layers.Layer()
    return quantizer, quantizer.build(shape, "kernel", layer)


@pytest.mark.parametrize("depthwise", [True, False])
def test_each_filter_has_its_range(depthwise):
    kernel = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype("float32")
    kernel[0, 0] *= 10  # Largest values that differ from filter to filter.
    quantizer, weights = quantizer_and_weights(depthwise, kernel.shape)
    actual = np.asarray(quantizer(kernel, True, weights))
    filters, together = by_filter(kernel, depthwise)
    largest = [np.abs(values).max() for values in filters]
    expected = together([rounded(v, top) for v, top in zip(filters, largest, strict=True)])
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    np.testing.assert_allclose(weights["max_var"].numpy(), largest, rtol=1e-6)
    np.testing.assert_allclose(weights["min_var"].numpy(), np.negative(largest), rtol=1e-6)


def test_ranges_stay_at_inference():
    quantizer, weights = quantizer_and_weights(True, (1, 1, 2, 1))
    kernel = np.array([0.3, 20.0], "float32").reshape(1, 1, 2, 1)
    actual = np.asarray(quantizer(kernel, False, weights)).ravel()
    np.testing.assert_allclose(actual, [rounded(0.3, 6.0), 6.0], atol=1e-5)
    np.testing.assert_array_equal(weights["max_var"].numpy(), [6.0, 6.0])


def test_a_fixed_range_needs_no_weights():
    quantizer = fixed_quantizer()(8, 0.0, 255 / 256, False)
    assert quantizer.build((2,), "output", None) == {}
