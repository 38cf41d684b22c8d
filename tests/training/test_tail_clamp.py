"""Latent weights stay between quantiles that move outwards, as NumPy has them."""

import keras
import numpy as np

from tfcompress.training.constraints import TailClamp


def test_by_hand():
    rng = np.random.default_rng(0)
    start = rng.laplace(size=(3, 3, 2, 4)) * np.array([0.1, 1.0, 0.5, 2.0])
    variable = keras.Variable(start, dtype="float32")
    clamp = TailClamp(variable, steps=4)
    weights = start
    for step in range(1, 6):  # The last one is beyond the training's steps.
        weights = weights + rng.normal(0, 0.3, weights.shape)
        got = np.asarray(clamp(keras.ops.convert_to_tensor(weights, "float32")))
        tau = 0.85 + (0.99 - 0.85) * (np.exp(min(step / 4, 1)) - 1) / (np.e - 1)
        bound = np.abs(weights).mean((0, 1, 2)) * -np.log(2 * (1 - tau))
        np.testing.assert_allclose(got, np.clip(weights, -bound, bound), rtol=1e-4, atol=1e-5)
    assert tau == 0.99


def test_the_bounds_are_quantiles_of_laplace():
    weights = np.random.default_rng(0).laplace(size=(200_000, 1)).astype("float32")
    clamp = TailClamp(keras.Variable(weights), steps=1)
    kept = np.asarray(clamp(keras.ops.convert_to_tensor(weights)))
    np.testing.assert_allclose((kept == kept.max()).mean(), 0.01, atol=1e-3)


def test_a_constraint_of_before_comes_first():
    variable = keras.Variable([[3.0], [-4.0]])
    variable.constraint = keras.constraints.NonNeg()
    got = np.asarray(TailClamp(variable, steps=1)(variable.value))
    bound = 1.5 * -np.log(2 * (1 - 0.99))
    np.testing.assert_allclose(got, [[min(3.0, bound)], [0.0]], rtol=1e-5)
