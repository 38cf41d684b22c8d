import keras
import numpy as np
import pytest

from tests.checks import layer_gradients, predict, save_and_load
from tfcompress import graph
from tfcompress.layers import MinMaxQuantize

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((), (6, 6, 16))


def by_hand(x, bits):
    """Value by value, with Python's numbers."""
    result = np.empty_like(x)
    for image, out in zip(x, result, strict=True):
        low, high = float(image.min()), float(image.max())
        step = (high - low) / (2**bits - 1)
        for place in np.ndindex(image.shape):
            levels = [low + step * k for k in range(2**bits)]
            out[place] = min(levels, key=lambda level: abs(level - float(image[place])))
    return result


def net(bits=8, shape=(3, 3, 2)):
    x = keras.Input(shape)
    return keras.Model(x, MinMaxQuantize(bits, name="levels")(x))


def images(seed=0, shape=(5, 3, 3, 2)):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_nearest_levels(bits):
    x = images()
    np.testing.assert_allclose(predict(net(bits), x), by_hand(x, bits), atol=1e-6)


def test_halves_go_up():
    """Between 0 and 255 the steps are 1: every value in the middle takes the level above it."""
    x = np.append(np.arange(0.5, 20), [0, 255]).astype("float32").reshape(1, 2, 11, 1)
    expected = np.where(x % 1 == 0.5, x + 0.5, x)
    np.testing.assert_array_equal(predict(net(8, (2, 11, 1)), x), expected)


def test_each_image_by_itself():
    x = images()
    together = predict(net(), x)
    for index in range(len(x)):
        np.testing.assert_array_equal(predict(net(), x[index : index + 1])[0], together[index])


def test_ends_stay_and_levels_are_few():
    x = images(shape=(2, 40, 40, 2))
    got = predict(net(4, (40, 40, 2)), x)
    for before, after in zip(x, got, strict=True):
        assert (after.min(), after.max()) == pytest.approx((before.min(), before.max()), abs=1e-6)
        assert len(np.unique(after)) <= 16


def test_equal_values_stay():
    x = np.full((2, 3, 3, 2), 0.7, "float32")
    np.testing.assert_array_equal(predict(net(), x), x)


def test_straight_through_gradient():
    layer = MinMaxQuantize(2)
    upstream = images(1)
    layer.build((None, 3, 3, 2))
    (got,) = layer_gradients(layer, images(), upstream)
    np.testing.assert_array_equal(got, upstream)


def test_lowered_to_stock_operations():
    lowered = graph.lower(net())
    assert not any(type(op).__module__.startswith("tfcompress") for op in lowered.layers)
    np.testing.assert_array_equal(predict(lowered, images()), predict(net(), images()))


def test_file(tmp_path):
    again = save_and_load(net(5), tmp_path)
    assert again.get_layer("levels").num_bits == 5
    np.testing.assert_array_equal(predict(again, images()), predict(net(5), images()))


@pytest.mark.parametrize("bits", [1, 17, 2.5])
def test_bad_bits(bits):
    with pytest.raises(ValueError, match=f"from 2 to 16. Received: num_bits={bits}"):
        MinMaxQuantize(bits)
