import keras
import numpy as np
import pytest
from keras import ops

from tfcompress.layers import ClipWeights

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((0.5,), (7,))


def test_values_are_clipped_both_ways():
    w = np.array([-2.0, -0.5, -0.1, 0.0, 0.5, 0.6], "float32")
    clipped = ops.convert_to_numpy(ClipWeights(0.5)(w))
    np.testing.assert_array_equal(clipped, np.array([-0.5, -0.5, -0.1, 0, 0.5, 0.5], "float32"))


@pytest.mark.parametrize("clip_value", [0, -1.0, float("nan")])
def test_bounds_must_be_positive(clip_value):
    with pytest.raises(ValueError, match=f"must be positive. Received: clip_value={clip_value}"):
        ClipWeights(clip_value)


def test_config_round_trip():
    constraint = keras.constraints.get(keras.constraints.serialize(ClipWeights(0.25)))
    assert isinstance(constraint, ClipWeights)
    assert constraint.get_config() == {"clip_value": 0.25}
