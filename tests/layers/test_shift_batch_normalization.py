"""The layer: powers of two by NumPy in training and inference, gradients, files, lowering."""

import keras
import numpy as np
import pytest

from tests import checks
from tests.layers.compact import (
    assert_config_round_trip,
    assert_lowered_is_the_same,
    assert_same_after_saving,
    draw,
)
from tfcompress.layers import ShiftBatchNormalization

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((), (6, 4))
GAMMA, BETA = np.array([0.8, -2.9, 0.1]), np.array([0.5, 0.0, -1.0])


def ap2(x):
    return np.sign(x) * 2.0 ** np.round(np.log2(np.abs(x)))


def built(**options):
    layer = ShiftBatchNormalization(epsilon=1e-2, **options)
    layer.build((None, 4, 3))
    layer.gamma.assign(GAMMA)
    layer.beta.assign(BETA)
    layer.moving_mean.assign([1.0, 0.0, -2.0])
    layer.moving_variance.assign([0.3, 5.0, 1.1])
    return layer


def test_normalises_by_the_batch_and_keeps_averages():
    layer, x = built(momentum=0.75), 3 * draw((5, 4, 3)) + 1
    got = np.asarray(layer(x, training=True))
    mean = x.mean((0, 1))
    centred = x - mean
    variance = (centred * ap2(centred)).mean((0, 1))
    expected = centred * ap2(1 / np.sqrt(variance + 1e-2)) * ap2(GAMMA) + BETA
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.asarray(layer.moving_mean), 0.75 * np.array([1, 0, -2]) + 0.25 * mean, rtol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(layer.moving_variance),
        0.75 * np.array([0.3, 5, 1.1]) + 0.25 * variance,
        rtol=1e-5,
    )


def test_normalises_by_the_averages_at_inference():
    layer, x = built(), draw((5, 4, 3))
    scale = ap2(1 / np.sqrt(np.array([0.3, 5.0, 1.1]) + 1e-2)) * ap2(GAMMA)
    expected = (x - np.array([1.0, 0.0, -2.0])) * scale + BETA
    np.testing.assert_allclose(np.asarray(layer(x)), expected, rtol=1e-5, atol=1e-6)


def test_gradients_pass_the_powers_of_two_straight_through():
    """Of gamma: the normalised values; of x those of the same formula without rounding it."""
    layer, x, upstream = built(), draw((5, 4, 3)), draw((5, 4, 3), seed=1)
    to_x, to_gamma, to_beta = checks.layer_gradients(layer, x, upstream)
    root = ap2(1 / np.sqrt(np.array([0.3, 5.0, 1.1]) + 1e-2))
    centred = x - np.array([1.0, 0.0, -2.0])
    np.testing.assert_allclose(to_x, upstream * root * ap2(GAMMA), rtol=1e-5)
    np.testing.assert_allclose(to_gamma, (upstream * centred * root).sum((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(to_beta, upstream.sum((0, 1)), rtol=1e-5)


def test_saves_and_lowers(tmp_path):
    layer, x = built(momentum=0.5), draw((2, 4, 3))
    assert_lowered_is_the_same(layer, x)
    assert_same_after_saving(layer, x, tmp_path)
    assert_config_round_trip(layer)


def test_refuses():
    with pytest.raises(ValueError, match="momentum must be from 0 to 1"):
        ShiftBatchNormalization(momentum=2)
    with pytest.raises(ValueError, match="epsilon must be 0 or more"):
        ShiftBatchNormalization(epsilon=-1.0)
    with pytest.raises(ValueError, match="The channels must be defined"):
        ShiftBatchNormalization()(keras.Input((3, None)))
