import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.graph import scale_and_offset


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_scale_and_offset_are_what_the_layer_computes(scale, center):
    """Against the layer itself, one value at a time, with statistics that aren't the first ones."""
    rng = np.random.default_rng(0)
    layer = layers.BatchNormalization(epsilon=0.05, scale=scale, center=center)
    layer.build((None, 3))
    weights = {"gamma": [2.0, -0.5, 1.5], "beta": [0.3, -4.0, 1.0]}
    for weight in layer.weights:
        drawn = rng.uniform(0.01, 2.0, 3)  # The mean, and a variance that epsilon matters beside.
        weight.assign(np.asarray(weights.get(weight.name, drawn), "float32"))
    factor, addend = scale_and_offset(layer)
    assert factor.shape == addend.shape == (3,)
    assert factor.dtype == addend.dtype == np.float64
    x = rng.standard_normal((5, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(layer(x, training=False))
    np.testing.assert_allclose(x * factor + addend, expected, rtol=1e-5, atol=1e-6)


def test_normalization_by_hand():
    layer = layers.BatchNormalization(epsilon=0.0)
    layer.build((None, 2))
    layer.set_weights([np.array(a, "float32") for a in ([2, 3], [1, -1], [5, 7], [4, 16])])
    scale, offset = scale_and_offset(layer)
    np.testing.assert_allclose(scale, [1, 0.75])
    np.testing.assert_allclose(offset, [1 - 5, -1 - 7 * 0.75])
