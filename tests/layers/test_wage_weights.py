"""The wrapper: levels and the power of two by hand, gradients, errors, files, lowering."""

import keras
import numpy as np
import pytest

from tests import checks
from tests.layers.compact import (
    assert_config_round_trip,
    assert_lowered_is_the_same,
    assert_same_after_saving,
    draw,
    numbers,
)
from tfcompress.layers import WageWeights

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = (lambda: (keras.layers.Dense(3), 2), (6, 4))


def dense(inputs, num_bits=2, units=2, **options):
    layer = WageWeights(keras.layers.Dense(units, use_bias=False), num_bits, **options)
    layer.build((None, inputs))
    return layer


@pytest.mark.parametrize(
    ("inputs", "num_bits", "alpha", "limit"),
    [
        (4, 2, 1.0, np.sqrt(0.75)),  # Above 1.5 / 2.
        (1000, 2, 16.0, 0.75),  # 0.75 / sqrt(3 / 1000) = 13.7, next to 2^4.
        (27, 2, 2.0, 0.75),  # As the authors' log has it of 3x3x3, and 16 and 32 of the next two.
        (1152, 2, 16.0, 0.75),
        (4608, 2, 32.0, 0.75),
        (1000, 4, 4.0, 0.1875),  # 3.4
    ],
)
def test_levels_and_their_power_of_two(inputs, num_bits, alpha, limit):
    layer = dense(inputs, num_bits, units=64)
    latent = numbers(layer.kernel)
    assert layer.alpha == alpha
    np.testing.assert_allclose(layer.limit, limit, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt((latent**2).mean()), limit / np.sqrt(3), rtol=0.02)
    steps = 2 ** (num_bits - 1)
    integers = np.clip(np.round(latent * steps), 1 - steps, steps - 1)
    np.testing.assert_allclose(numbers(layer.rounded_kernel()), integers / steps / alpha)
    if num_bits == 2:
        assert set(np.unique(integers)) == {-1, 0, 1}


def test_a_convolutions_weights_keep_the_variance_of_the_inputs():
    """What alpha is for."""
    layer = WageWeights(keras.layers.Conv2D(64, 3, use_bias=False), error_bits=32)
    outputs = np.asarray(layer(draw((8, 6, 6, 100))))
    assert 0.5 < outputs.var() < 2.0
    more = WageWeights(keras.layers.Conv2D(64, 3, use_bias=False), input_shift=3)
    more.build((None, 6, 6, 100))
    assert more.alpha == 8 * layer.alpha


def test_gradients_pass_straight_through_and_errors_are_rounded_in_training():
    layer = dense(1000, error_bits=3)
    x, upstream = draw((2, 1000)), np.array([[0.3, -5.0], [1.2, 0.0]], "float32")
    errors = upstream
    for training in (False, True):
        _, to_kernel = checks.layer_gradients(lambda_of(layer, training), x, upstream)
        if training:  # Shift(5) is 4.
            errors = np.clip(np.round(upstream / 4 * 4), -3, 3) / 4
        np.testing.assert_allclose(to_kernel, x.T @ errors / 16, rtol=1e-4, atol=1e-5)


def lambda_of(layer, training):
    """The layer, called in training or not, for `layer_gradients`."""

    class Called:
        trainable_variables = layer.trainable_variables
        non_trainable_variables = layer.non_trainable_variables

        def stateless_call(self, weights, others, x):
            return layer.stateless_call(weights, others, x, training=training)

    return Called()


def test_saves_and_lowers(tmp_path):
    layer, x = dense(6, 3, error_bits=6, input_shift=2), draw((2, 6))
    assert_lowered_is_the_same(layer, x)
    assert_same_after_saving(layer, x, tmp_path)
    assert_config_round_trip(layer)


def test_refuses():
    with pytest.raises(ValueError, match=r"num_bits must be from 2 to 8\. Received: num_bits=1"):
        dense(2, 1)
    with pytest.raises(ValueError, match="error_bits must be from 2 to 16, or 32"):
        dense(2, error_bits=17)
