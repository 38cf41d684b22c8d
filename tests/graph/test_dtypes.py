"""Models of 16-bit policies, in 32 bits."""

import keras
import numpy as np
import pytest
from keras import layers

from tfcompress import graph
from tfcompress.graph.dtypes import half_precision


def net(dtype):
    inputs = keras.Input((6, 4))
    x = layers.TimeDistributed(layers.Dense(5, dtype=dtype), dtype=dtype)(inputs)
    x = keras.Sequential([layers.Activation("tanh", dtype=dtype)])(x)
    x = keras.ops.cast(keras.ops.cast(x * 9, "int32"), "float32")
    return keras.Model(inputs, layers.Dense(3, dtype=dtype)(layers.Flatten()(x)))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_the_same_weights_in_full_precision(dtype):
    model = net(dtype)
    assert half_precision(model) == dtype
    full = graph.clone(model, full_precision=True)
    assert half_precision(full) is None
    assert half_precision(model) == dtype
    for before, after in zip(model.get_weights(), full.get_weights(), strict=True):
        assert after.dtype == np.float32
        np.testing.assert_array_equal(before.astype("float32"), after)
    x = np.random.default_rng(0).normal(size=(4, 6, 4)).astype("float32")
    right = net("float32")
    right.set_weights(full.get_weights())
    np.testing.assert_array_equal(full(x), right(x))  # The cast to integers is still there.


def test_others_stay_as_they_are():
    assert half_precision(net("float32")) is None
