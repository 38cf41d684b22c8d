import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import checks
from tests.layers import compact
from tests.layers.compact import draw, predict
from tfcompress.layers import ChannelShuffle
from tfcompress.layers.channel_shuffle import channel_shuffle

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((2,), (6, 6, 16))


def naive(x, groups):
    each = x.shape[-1] // groups
    out = np.empty_like(x)
    for group in range(groups):
        for i in range(each):
            out[..., i * groups + group] = x[..., group * each + i]
    return out


@pytest.mark.parametrize(("channels", "groups"), [(6, 3), (6, 2), (8, 4), (5, 1), (4, 4)])
def test_is_the_loops(channels, groups):
    x = draw((2, 3, 4, channels))
    np.testing.assert_array_equal(predict(ChannelShuffle(groups), x), naive(x, groups))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4))
def test_shuffling_by_the_other_number_undoes_it(groups, each):
    x = draw((1, 2, 2, groups * each))
    back = channel_shuffle(channel_shuffle(x, groups), each)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(back), x)


def test_gradient_is_the_shuffle_back():
    x, upstream = draw((1, 2, 3, 6)), draw((1, 2, 3, 6), seed=1)
    layer = compact.with_weights(ChannelShuffle(3), x)
    (gradient,) = checks.layer_gradients(layer, x, upstream)
    np.testing.assert_array_equal(gradient, naive(upstream, 2))


def test_unknown_sizes():
    x = draw((2, 3, 4, 6))
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, ChannelShuffle(2)(inputs))
    assert model.output_shape == (None, None, None, 6)
    np.testing.assert_array_equal(checks.predict(model, x), naive(x, 2))


def test_config_saving_and_lowering(tmp_path):
    x = draw((2, 3, 4, 6))
    layer = ChannelShuffle(3)
    compact.assert_config_round_trip(layer)
    compact.assert_same_after_saving(layer, x, tmp_path)
    compact.assert_lowered_is_the_same(layer, x)
    assert not layer.weights


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
def test_file(tmp_path):
    x = draw((3, 4, 4, 6))
    written = compact.assert_export_is_the_same(ChannelShuffle(3), x, tmp_path)
    assert written.parity.max_abs_diff == 0
    assert sum(written.ops.values()) == 3


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"groups must be.*groups=0"):
        ChannelShuffle(0)
    with pytest.raises(ValueError, match=r"multiple of groups.*groups=4.*\(1, 2, 2, 6\)"):
        ChannelShuffle(4)(np.ones((1, 2, 2, 6), "float32"))
