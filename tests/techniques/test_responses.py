"""`reconstruction=activations`: judged by the networks' answers, which stock Keras layers give."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests import checks
from tfcompress import graph, techniques
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.layers import LowRankDense, SpatialSeparableConv2D

each = pytest.mark.parametrize("name", ["svd", "spatial"])


def images(count=64, side=16, seed=1):
    """Smooth ones, so that neighbouring inputs are correlated."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, side // 4, side // 4, 3))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2) + 0.1 * rng.normal(
        size=(count, side, side, 3)
    )
    return fine.astype("float32")


def transform(name, model, x, **options):
    technique = techniques.get(name)
    return technique.transform(
        techniques.Candidate(model, samples=x), technique.make_options(**options)
    )


def both(name, model, x, **options):
    """The networks by weights and by activations."""
    return [
        transform(name, model, x, reconstruction=how, **options).model
        for how in ("weights", "activations")
    ]


def error(layer, model, other, x):
    """The relative error of a layer's answers in another network."""
    expected, found = (
        checks.predict(keras.Model(m.inputs, m.get_layer(layer).output), x) for m in (model, other)
    )
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@each
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_a_layers_answers_are_nearer(name, rank, small):
    model, x = small(), images()
    by_weights, by_answers = both(name, model, x, ranks={"conv3": rank})
    nearer, before = error("conv3", model, by_answers, x), error("conv3", model, by_weights, x)
    assert nearer < before
    line = transform(name, model, x, ranks={"conv3": rank}, reconstruction="activations").layers[2]
    # There are as few positions as are looked at.
    assert f"error of the responses {nearer:.3f}" in line.reason


@each
def test_images_that_it_was_not_fitted_to(name, small):
    model = small()
    by_weights, by_answers = both(name, model, images(256), ranks={"conv3": 4})
    x = images(64, seed=2)
    assert error("conv3", model, by_answers, x) < error("conv3", model, by_weights, x)


@each
@pytest.mark.parametrize("how", [{"strides": 2}, {"dilation_rate": 2, "padding": "valid"}, {}])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_strides_dilation_bias_and_activation(name, how, activation):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, name="first")(inputs)
    settings = {"padding": "same", "bias_initializer": "random_normal", **how}
    conv = layers.Conv2D(12, 3, name="conv", activation=activation, **settings)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(conv(x))))
    # Before the activation, in a copy of the same weights.
    plain = graph.clone(model)
    plain.get_layer("conv").activation = keras.activations.linear
    x = images(16)
    thin = [graph.clone(m) for m in both(name, model, x, ranks={"conv": 3})]
    for one in thin:
        one.get_layer("conv").activation = keras.activations.linear
    # All positions of so few images are looked at.
    found, expected = (
        checks.predict(keras.Model(m.inputs, m.get_layer("conv").output), x)
        for m in (thin[1], plain)
    )
    by_weights, by_answers = (error("conv", plain, m, x) for m in thin)
    assert by_answers < by_weights
    np.testing.assert_allclose(found.mean((0, 1, 2)), expected.mean((0, 1, 2)), atol=1e-4)
    whole = transform(name, model, x, ranks={"conv": 99}, reconstruction="activations").model
    checks.assert_same(checks.predict(whole, x), checks.predict(model, x), atol=1e-4)


def test_dense_layers():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Dense(24, activation="relu", name="first")(inputs)
    x = layers.Dense(24, activation="relu", name="pixels")(x)  # At every pixel.
    x = layers.Dense(20, name="whole")(layers.Flatten()(x))  # Of 1,536 inputs, for 64 images.
    model = keras.Model(inputs, layers.Dense(3)(x))
    x = images(64, 8)
    for layer in ("pixels", "whole"):
        by_weights, by_answers = both("svd", model, x, ranks={layer: 3})
        assert isinstance(by_answers.get_layer(layer), LowRankDense)
        assert error(layer, model, by_answers, x) < error(layer, model, by_weights, x)


@each
def test_a_later_layer_makes_up_for_the_earlier_ones(name, small):
    """Fitted to its compressed inputs, it is nearer than fitted to the original ones."""
    model, x = small(), images(256)
    options = {"reconstruction": "activations"}
    together = transform(name, model, x, ranks={"conv2": 3, "conv3": 6}, **options).model
    first = transform(name, model, x, ranks={"conv2": 3}, **options).model
    second = transform(name, model, x, ranks={"conv3": 6}, **options).model
    apart = graph.clone(together)
    apart.get_layer("conv3").set_weights(second.get_layer("conv3").get_weights())
    for a, b in zip(*(m.get_layer("conv2").get_weights() for m in (first, apart)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert error("conv3", model, together, x) < error("conv3", model, apart, x)


@each
def test_the_same_again(name, small):
    model, x = small(), images()
    one, other = (
        transform(name, model, x, rank=4, reconstruction="activations").model for _ in range(2)
    )
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_decomposition_error_is_the_weights(small):
    model = small()
    thin = transform("spatial", model, images(), rank=4, reconstruction="activations").model
    layer = thin.get_layer("conv2")
    kernel = np.asarray(model.get_layer("conv2").kernel)
    missed = np.linalg.norm(np.asarray(layer.logical_kernel()) - kernel) / np.linalg.norm(kernel)
    np.testing.assert_allclose(layer.decomposition_error, missed, rtol=1e-4)


def test_a_shared_layer():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    x = shared(layers.MaxPooling2D(2)(shared(x)))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    x = images(64, 8)
    thin = transform("spatial", model, x, ranks={"shared": 24}, reconstruction="activations").model
    assert isinstance(thin.get_layer("shared"), SpatialSeparableConv2D)
    checks.assert_same(checks.predict(thin, x), checks.predict(model, x), atol=1e-4)


def test_it_needs_images(small):
    with pytest.raises(InputError, match=r"svd with .*=activations needs training images: use"):
        tfcompress.transform(small(), "svd", reconstruction="activations")
    one, other = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    x = layers.Concatenate()([one, other])
    x = layers.Conv2D(8, 3, name="inner")(layers.Conv2D(8, 3)(x))
    model = keras.Model([one, other], layers.Dense(3)(layers.Flatten()(x)), name="two")
    with pytest.raises(InputError, match="a model of one input; 'two' has 2"):
        transform("svd", model, images(), ranks={"inner": 2}, reconstruction="activations")
    with pytest.raises(InputError, match="reconstruction takes one of weights, activations"):
        techniques.get("svd").make_options(reconstruction="outputs")
    with pytest.raises(InputError, match="unknown option of tucker 'reconstruction'"):
        techniques.get("tucker").make_options(reconstruction="activations")


def test_by_the_door(small):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8)
    data = from_arrays((pixels, np.arange(32) % 4))
    settings = {"epochs": 0, "rank": 4, "verbose": False}
    by_weights, by_answers = (
        tfcompress.compress(small(), "svd", data, reconstruction=how, **settings)
        for how in ("weights", "activations")
    )
    x = data.representative(32)
    assert error("conv3", small(), by_answers, x) < error("conv3", small(), by_weights, x)
