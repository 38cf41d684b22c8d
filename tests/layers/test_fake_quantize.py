"""The layer: range, configuration, file, lowering, gradient."""

import keras
import numpy as np
import pytest

from tests.checks import layer_gradients, predict, save_and_load
from tfcompress import graph
from tfcompress.layers import FakeQuantize

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((-2.0, 2.0), (6, 6, 16))


def net(**config):
    x = keras.Input((6,))
    return keras.Model(x, FakeQuantize(-1.0, 2.0, name="rounding", **config)(x))


def images(seed=0):
    return np.random.default_rng(seed).normal(size=(20, 6)).astype("float32") * 2


def test_values_by_hand():
    got = predict(net(num_bits=2), np.array([[-3, -0.6, -0.4, 0.6, 1.4, 9]], "float32"))
    np.testing.assert_allclose(got, [[-1, -1, 0, 1, 1, 2]])


def test_range_is_weights_that_training_leaves():
    model = net()
    layer = model.get_layer("rounding")
    assert layer.range() == (-1.0, 2.0)
    assert not model.trainable_variables
    assert graph.parameters(model) == 0
    layer.high.assign(4.0)
    assert predict(model, np.full((1, 6), 9, "float32")).max() == pytest.approx(4.0, rel=0.01)


def test_file_keeps_the_range(tmp_path):
    model = net(num_bits=4, narrow_range=True)
    model.get_layer("rounding").low.assign(-1.5)
    again = save_and_load(model, tmp_path)
    assert again.get_layer("rounding").range() == (-1.5, 2.0)
    np.testing.assert_array_equal(predict(again, images()), predict(model, images()))


def test_lowered_to_stock_operations():
    model = net()
    lowered = graph.lower(model)
    assert not any(type(op).__module__.startswith("tfcompress") for op in lowered.layers)
    np.testing.assert_array_equal(predict(lowered, images()), predict(model, images()))


@pytest.mark.parametrize("nudge", [False, True])
def test_straight_through_gradient(nudge):
    layer = FakeQuantize(-1.0, 2.0, nudge_values=nudge)
    layer.build((None, 6))
    x = images()
    (got,) = layer_gradients(layer, x, np.ones_like(x))
    low, high = -1.0, 2.0
    np.testing.assert_array_equal(got, ((x >= low) & (x <= high)).astype("float32"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.5, 1.0), "minimum must be at most 0"),
        ((-1.0, -0.5), "maximum at least 0"),
        ((0.0, 0.0), "above it"),
    ],
)
def test_bad_range(arguments, said):
    with pytest.raises(ValueError, match=said):
        FakeQuantize(*arguments)


@pytest.mark.parametrize(
    ("adapt", "expected"), [("moving_average", (-1.5, 3.5)), ("extremes", (-2.0, 5.0))]
)
def test_the_range_follows_in_training_alone(adapt, expected, tmp_path):
    model = net(adapt=adapt, ema_decay=0.5)
    layer = model.get_layer("rounding")
    x = np.array([[-2, 5, 0, 1, 1, 1]], "float32")
    model(x, training=False)
    assert layer.range() == (-1.0, 2.0)
    rounded = keras.ops.convert_to_numpy(model(x, training=True))
    assert layer.range() == expected
    # By the new range.
    assert rounded[0, :2] == pytest.approx([max(expected[0], -2), min(expected[1], 5)], abs=0.03)
    assert save_and_load(model, tmp_path).get_layer("rounding").adapt == adapt


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"adapt": "mean"}, "adapt must be None, 'moving_average'"),
        ({"ema_decay": 2}, "from 0 to 1"),
    ],
)
def test_bad_adaptation(settings, said):
    with pytest.raises(ValueError, match=said):
        FakeQuantize(**settings)


@pytest.mark.parametrize("bits", [1, 17, 8.5])
def test_bad_bits(bits):
    with pytest.raises(ValueError, match="num_bits must be from 2 to 16"):
        FakeQuantize(num_bits=bits)


def test_nudged_values_stay_apart():
    """Pixels around a mean in the middle of two: rounded to the nearest, chance would decide."""
    pixels = np.arange(256, dtype="float32")
    x = (pixels - np.float32(127.5)) / np.float32(127.5)
    layer = FakeQuantize(-1.0, 1.0, nudge_values=True)
    rounded = np.asarray(layer(x))
    np.testing.assert_allclose(rounded * 127.5 - rounded[0] * 127.5, pixels, atol=1e-4)
    assert np.abs(rounded - x).max() <= 0.5001 / 127.5
    assert 0 in rounded
    np.testing.assert_allclose(np.asarray(layer.lower()(x)), rounded, atol=1e-6)
    compiled = keras.Sequential([keras.Input((256,)), layer])
    compiled.compile(jit_compile=True)
    np.testing.assert_array_equal(compiled.predict(x[None], verbose=0)[0], rounded)
    assert FakeQuantize.from_config(layer.get_config()).nudge_values
    with pytest.raises(ValueError, match="nudge_values is for the whole range of integers"):
        FakeQuantize(-1.0, 1.0, nudge_values=True, narrow_range=True)
