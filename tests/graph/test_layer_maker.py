import keras
import numpy as np
import pytest
from keras import layers

from tfcompress.graph.layer_maker import LayerMaker, ignoring_unset_arguments, replace_layers


def net():
    inputs = keras.Input((4,), name="x")
    x = layers.Dense(4, name="dense")(inputs)
    return keras.Model(inputs, layers.Dense(2, name="dense_in")(x))


def test_names_are_free_and_parts_are_made_once():
    maker = LayerMaker(net())
    first = maker.layer("dense", "in", "ReLU")
    assert first.name == "dense_in_1"
    assert maker.layer("dense", "in", "ReLU") is first
    assert maker.layer("dense", "", "ReLU").name == "dense"
    assert maker.layer("x", "of", layers.ReLU, max_value=6.0).max_value == 6.0


@pytest.mark.parametrize("shape", [(3,), (5, 3), (None, 3), (4, 5, 3), (2, 4, 5, 3)])
def test_affine_scales_and_shifts_each_channel(shape):
    inputs = keras.Input(shape)
    scale, offset = np.array([2.0, -1.0, 0.5]), np.array([0.0, 3.0, -0.25])
    maker = LayerMaker(keras.Model(inputs, layers.Identity(name="map")(inputs)))
    model = keras.Model(inputs, maker.affine("map", "", inputs, scale, offset))
    maker.finish()
    size = (2, *(6 if n is None else n for n in shape))
    x = np.random.default_rng(0).normal(size=size).astype("float32")
    np.testing.assert_allclose(np.asarray(model(x)), scale * x + offset, atol=1e-6)


def test_replaced_layers_get_their_weights_and_the_model_keeps_its_own():
    model = net()
    before = model.get_weights()
    maker = LayerMaker(model)
    double = maker.layer("dense", "", "Dense", units=4)
    maker.set_weights(double, 2 * before[0], 2 * before[1])
    result = replace_layers(model, {"dense": double}, maker)
    np.testing.assert_array_equal(result.get_layer("dense").kernel, 2 * before[0])
    np.testing.assert_array_equal(result.get_layer("dense_in").kernel, before[2])
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    assert not {id(w) for w in result.weights} & {id(w) for w in model.weights}
    assert replace_layers(model, {}, maker) is model


def test_arguments_that_nobody_set_are_left_out():
    function = ignoring_unset_arguments(lambda x, **kwargs: (x, kwargs))
    assert function(1, mask=None, training=None) == (1, {})
    assert function(1, training=False) == (1, {"training": False})
