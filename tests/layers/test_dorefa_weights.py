"""The wrapper: levels by hand, the gradients of weights and outputs, files, lowering."""

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
from tfcompress.layers import DoReFaWeights
from tfcompress.ops import few_bits

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = (lambda: (keras.layers.Dense(3), 2), (6, 4))
WEIGHTS = np.array([-2.0, -0.6, -0.1, 0.0, 0.2, 1.1], "float32")


def dense(num_bits, **options):
    layer = DoReFaWeights(keras.layers.Dense(1, use_bias=False), num_bits, **options)
    layer.build((None, len(WEIGHTS)))
    layer.kernel.assign(WEIGHTS[:, None])
    return layer


@pytest.mark.parametrize("num_bits", [1, 2, 3, 8])
def test_levels_are_the_papers(num_bits):
    layer = dense(num_bits)
    squashed = np.tanh(WEIGHTS.astype("float64"))
    steps = 2**num_bits - 1
    expected = 2 * np.round(steps * (squashed / (2 * np.abs(squashed).max()) + 0.5)) / steps - 1
    if num_bits == 1:
        expected = np.abs(WEIGHTS).mean() * np.where(WEIGHTS >= 0, 1, -1)
    np.testing.assert_allclose(numbers(layer.rounded_kernel())[:, 0], expected, atol=1e-6)
    layer.start()
    if num_bits > 1:
        nearest = (WEIGHTS * expected).sum() / (expected**2).sum()
        np.testing.assert_allclose(float(layer.scale), nearest, rtol=1e-5)


@pytest.mark.parametrize(
    ("num_bits", "factors"), [(2, (3.12, 2.064)), (4, (12.68, 12.80)), (8, (31.76, 35.04))]
)
def test_levels_by_statistics(num_bits, factors):
    layer = dense(num_bits, binning="statistics")
    layer.start()
    size = np.abs(WEIGHTS)
    bound = factors[0] * np.sqrt((WEIGHTS**2).mean()) - factors[1] * size.mean()
    steps = 2**num_bits - 1
    shares = np.clip(WEIGHTS / bound, -1, 1) / 2 + 0.5
    expected = bound * (2 * np.round(steps * shares) / steps - 1)
    np.testing.assert_allclose(numbers(layer.rounded_kernel())[:, 0], expected, rtol=1e-4)
    x = np.arange(1.0, 7.0, dtype="float32")[None]
    _, to_kernel = checks.layer_gradients(layer, x, np.ones((1, 1), "float32"))
    np.testing.assert_allclose(to_kernel[:, 0], x[0])
    assert_config_round_trip(layer)


def test_the_bound_by_statistics_is_near_the_least_squares():
    """What the factors are for; of one size alone they give none, and the largest is taken."""
    rng = np.random.default_rng(0)
    for draw_weights in (rng.normal, rng.laplace, rng.uniform):
        weights = draw_weights(size=20_000).astype("float32")
        weights -= weights.mean()

        def error(bound, weights=weights):
            shares = np.clip(weights / bound, -1, 1) / 2 + 0.5
            return np.square(bound * (2 * np.round(3 * shares) / 3 - 1) - weights).mean()

        rounded = np.asarray(few_bits.statistics_levels(keras.ops.convert_to_tensor(weights), 2))
        least = min(map(error, np.linspace(0.1, 1, 100) * np.abs(weights).max()))
        assert np.square(rounded - weights).mean() < 1.1 * least
    same = few_bits.statistics_levels(keras.ops.full((4,), 0.5), 4)  # 12.68 / 2 - 12.8 / 2 < 0.
    np.testing.assert_allclose(np.asarray(same), 0.5)


def test_gradients_of_weights_the_largest_included():
    layer = dense(2)
    x = np.arange(1.0, 7.0, dtype="float32")[None]
    _, to_kernel = checks.layer_gradients(layer, x, np.ones((1, 1), "float32"))
    squashed = np.tanh(WEIGHTS.astype("float64"))
    largest = np.abs(squashed).max()
    expected = x[0] / largest
    at = np.abs(squashed).argmax()
    expected[at] -= np.sign(squashed[at]) * (x[0] * squashed).sum() / largest**2
    np.testing.assert_allclose(to_kernel[:, 0], expected * (1 - squashed**2), rtol=1e-4)


def test_one_bits_gradient_passes_straight_through():
    x = np.arange(1.0, 7.0, dtype="float32")[None]
    _, to_kernel = checks.layer_gradients(dense(1), x, np.ones((1, 1), "float32"))
    np.testing.assert_allclose(to_kernel[:, 0], x[0])


def test_gradients_of_a_few_bits_by_each_examples_range():
    """By the formula, one example a hundred times another's size; without noise and with it."""
    upstream = draw((2, 5)) * np.array([[1.0], [100.0]], "float32")
    for noise in (np.zeros((2, 5), "float32"), draw((2, 5), seed=1) / 10):
        (found,) = checks.gradients(
            lambda x, noise=noise: keras.ops.sum(few_bits.rounded_gradient(x, noise, 2) * upstream),
            draw((2, 5), seed=2),
        )
        largest = np.abs(upstream).max(axis=1, keepdims=True)
        shares = np.clip(upstream / (2 * largest) + 0.5 + noise / 3, 0, 1)
        expected = 2 * largest * (np.round(3 * shares) / 3 - 0.5)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_rounded_gradients_are_right_on_the_average_and_for_training_alone():
    layer = DoReFaWeights(keras.layers.Dense(6, use_bias=False), 4, gradient_bits=2, seed=0)
    x = draw((1, 3))
    layer.build(x.shape)
    upstream = draw((1, 6), seed=1)

    def gradient(training):
        def loss(x):
            return keras.ops.sum(layer(x, training=training) * upstream)

        return checks.gradients(loss, x)[0]

    exact = gradient(False)
    rounded = [gradient(True) for _ in range(200)]
    assert len({each.tobytes() for each in rounded}) > 10
    np.testing.assert_allclose(np.mean(rounded, axis=0), exact, atol=0.15 * np.abs(upstream).max())


def test_saves_and_lowers(tmp_path):
    layer, x = dense(3, gradient_bits=6, seed=2), draw((2, 6))
    assert_lowered_is_the_same(layer, x)
    assert_same_after_saving(layer, x, tmp_path)
    assert_config_round_trip(layer)


def test_refuses():
    with pytest.raises(ValueError, match=r"num_bits must be from 1 to 8\. Received: num_bits=9"):
        dense(9)
    with pytest.raises(ValueError, match="gradient_bits must be from 2 to 8, or 32"):
        dense(2, gradient_bits=1)
    with pytest.raises(ValueError, match="binning must be 'tanh' or 'statistics'"):
        dense(2, binning="sawb")
    with pytest.raises(ValueError, match="num_bits must be one of 2, 3, 4, 5, 8 with binning="):
        dense(6, binning="statistics")
