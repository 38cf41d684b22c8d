"""The wrapper: signs and draws by hand, the clipped latent weights, files, lowering."""

import keras
import numpy as np

from tests import checks
from tests.layers.compact import (
    assert_config_round_trip,
    assert_lowered_is_the_same,
    assert_same_after_saving,
    draw,
    numbers,
)
from tfcompress.layers import BinaryConnectWeights

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = (lambda: (keras.layers.Conv2D(3, 3),), (6, 6, 4))


def dense(stochastic=False, units=1, inputs=5):
    layer = BinaryConnectWeights(keras.layers.Dense(units, use_bias=False), stochastic, seed=3)
    layer.build((None, inputs))
    return layer


def test_signs_times_the_mean_size():
    layer = dense()
    weights = np.array([-4.0, -0.5, 0.0, 0.5, 1.0], "float32")
    layer.kernel.assign(weights[:, None])
    layer.start()
    np.testing.assert_allclose(float(layer.scale), 1.2, rtol=1e-6)
    np.testing.assert_allclose(numbers(layer.kernel)[:, 0], weights / 4)
    expected = 1.2 * np.array([-1, -1, 1, 1, 1])
    np.testing.assert_allclose(numbers(layer.rounded_kernel())[:, 0], expected, rtol=1e-6)
    assert not layer.scale.trainable


def test_gradients_pass_straight_through():
    layer = dense()
    layer.kernel.assign(np.array([[-1.0], [-0.2], [0.0], [0.2], [1.0]]))
    layer.scale.assign(0.5)
    x = np.arange(1.0, 6.0, dtype="float32")[None]
    _, to_kernel = checks.layer_gradients(layer, x, np.ones((1, 1), "float32"))
    np.testing.assert_allclose(to_kernel[:, 0], 0.5 * x[0])


def test_draws_by_the_weights_size_and_signs_at_inference():
    layer = dense(stochastic=True, units=4000)
    latent = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    layer.kernel.assign(np.repeat(latent[:, None], 4000, axis=1))
    drawn = keras.ops.convert_to_numpy(layer(np.eye(5, dtype="float32"), training=True))
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    np.testing.assert_allclose((drawn > 0).mean(axis=1), [0, 0.25, 0.5, 0.75, 1], atol=0.03)
    again = keras.ops.convert_to_numpy(layer(np.eye(5, dtype="float32"), training=True))
    assert (again[1:4] != drawn[1:4]).any()
    other = dense(stochastic=True, units=4000)
    other.kernel.assign(layer.kernel)
    same = keras.ops.convert_to_numpy(other(np.eye(5, dtype="float32"), training=True))
    np.testing.assert_array_equal(same, drawn)  # By the seed.
    signs = keras.ops.convert_to_numpy(layer(np.eye(5, dtype="float32")))
    np.testing.assert_array_equal(signs[:, 0], [-1, -1, 1, 1, 1])


def test_latent_weights_stay_between_the_values():
    layer = dense(units=3)
    x = draw((8, 5))
    model = keras.Sequential([keras.Input((5,)), layer])
    layer.kernel.assign(np.full((5, 3), 0.999))
    model.compile("sgd", "mse")
    model.fit(x, 100 * draw((8, 3), seed=2), verbose=0)
    assert np.abs(numbers(layer.kernel)).max() == 1.0


def test_saves_and_lowers(tmp_path):
    layer, x = dense(True, units=3), draw((2, 5))
    assert_lowered_is_the_same(layer, x)
    assert_same_after_saving(layer, x, tmp_path)
    assert_config_round_trip(layer)
