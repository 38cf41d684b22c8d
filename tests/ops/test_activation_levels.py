import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tfcompress.ops import activation_levels

# At the thresholds and the ends of the gradient for a step of 0.5, just beside them, and far away.
EDGES = np.array(
    [-9, -1e-6, 0, 0.2499, 0.25, 0.2501, 0.7499, 0.75, 1, 1.2499, 1.25, 1.5, 1.5001, 9, np.nan],
    "float32",
)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_levels_begin_in_the_middle():
    expected = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 0]
    x = ops.convert_to_tensor(EDGES)
    np.testing.assert_array_equal(numpy(activation_levels.levels(x, 0.5)), expected)


@pytest.mark.parametrize("step", [0.5, 0.37, -1.0])
def test_learned_levels_are_the_papers(step):
    """Forward and both gradients of LSQ, for unsigned integers of 2 bits."""

    class Layer(keras.layers.Layer):
        def build(self, shape):
            self.step = self.add_weight(shape=(), initializer=keras.initializers.Constant(step))

        def call(self, x):
            return activation_levels.learned_levels(x, self.step)

    rng = np.random.default_rng(0)
    x = np.concatenate([EDGES[:-1], rng.normal(size=22)]).astype("float32").reshape(2, 3, 6)
    upstream = rng.normal(size=x.shape).astype("float32")
    layer = Layer()
    layer.build(x.shape)
    safe = np.float32(max(step, 1e-8))
    level = np.clip(np.floor(x.astype("float64") / safe + 0.5), 0, 3)
    inside = (x >= 0) & (x / safe <= 3)
    np.testing.assert_allclose(numpy(layer(x)), level * safe, rtol=1e-6)
    of_x, of_step = checks.layer_gradients(layer, x, upstream)
    np.testing.assert_allclose(of_x, upstream * inside, rtol=1e-6)
    error = level - np.where(inside, x / safe, 0)
    expected = (upstream * error).sum() / np.sqrt(3 * 18)  # Of the 18 numbers of one example.
    np.testing.assert_allclose(of_step, expected, rtol=1e-4, atol=1e-5)


def test_first_step_is_the_best_for_half_a_normal_distribution():
    x = np.linspace(0, 6, 6001)
    weight = np.exp(-x * x / 2)
    steps = np.linspace(0.3, 0.9, 601)
    errors = [
        (weight * (x - step * np.clip(np.floor(x / step + 0.5), 0, 3)) ** 2).sum() for step in steps
    ]
    assert abs(steps[np.argmin(errors)] - activation_levels.FIRST_STEP) < 0.002


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_types_stay(dtype):
    x = ops.cast([-1.5, 0.0, 2.0], dtype)
    for result in (
        activation_levels.levels(x, 0.5),
        activation_levels.learned_levels(x, ops.cast(0.5, dtype)),
    ):
        assert keras.backend.standardize_dtype(result.dtype) == dtype
