import keras
import numpy as np
import pytest

from tfcompress.training.penalties import FilterLasso


@pytest.mark.parametrize("axis", [-1, 2])
def test_the_penalty_is_the_sum_of_the_filters_norms(axis):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32")
    kernel[..., 1] = 0
    rows = np.moveaxis(kernel, axis, 0)
    expected = 0.1 * sum(np.linalg.norm(each) * np.sqrt(each.size) for each in rows)
    penalty = FilterLasso(0.1, axis)
    again = keras.regularizers.deserialize(keras.regularizers.serialize(penalty))
    for each in (penalty, again):
        np.testing.assert_allclose(each(keras.ops.convert_to_tensor(kernel)), expected, rtol=1e-5)


def test_the_slope_has_the_same_length_for_small_filters_and_is_finite_at_zero():
    """A step of SGD shows the gradient."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, use_bias=False)])
    (kernel,) = model.weights
    kernel.assign([[4.0, -0.01, 0.0]])
    kernel.regularizer = FilterLasso(1.0)
    model.compile(keras.optimizers.SGD(0.001), "mse")
    x = np.zeros((2, 1), "float32")
    model.train_on_batch(x, np.zeros((2, 3), "float32"))
    np.testing.assert_allclose(np.array(kernel), [[3.999, -0.009, 0.0]], atol=1e-6)
