"""The wrapper: values by hand, both papers' gradients, files, lowering."""

import keras
import numpy as np
import pytest

from tests import checks
from tests.layers.compact import (
    assert_config_round_trip,
    assert_every_weight_moves_from_here,
    assert_lowered_is_the_same,
    assert_same_after_saving,
    draw,
    numbers,
)
from tfcompress.layers import TernaryWeights

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = (lambda: (keras.layers.Conv2D(3, 3),), (6, 6, 4))
KINDS = {
    "Conv2D": (lambda: keras.layers.Conv2D(3, 3, padding="same"), (2, 6, 5, 4), (0, 1, 2)),
    "Conv2DTranspose": (lambda: keras.layers.Conv2DTranspose(3, 2), (2, 4, 4, 5), (0, 1, 3)),
    "Dense": (lambda: keras.layers.Dense(3, activation="tanh"), (2, 7), (0,)),
    "DepthwiseConv2D": (lambda: keras.layers.DepthwiseConv2D(3), (2, 6, 6, 4), (0, 1)),
}
kinds = pytest.mark.parametrize("kind", KINDS)
modes = pytest.mark.parametrize("trained", [False, True], ids=["TWN", "TTQ"])


def wrapped(kind="Conv2D", trained=False, **options):
    make, shape, axes = KINDS[kind]
    layer = TernaryWeights(make(), trained, **options)
    layer.build(shape)
    layer.kernel.assign(draw(layer.kernel.shape, seed=1))
    layer.start()
    return layer, draw(shape), axes


def expected_kernel(layer, axes):
    """Of NumPy, filter by filter."""
    kernel = numbers(layer.kernel)
    rows = np.moveaxis(kernel, axes, range(len(axes))).reshape(
        np.prod([kernel.shape[axis] for axis in axes]), -1
    )
    columns = []
    for row in rows.T:
        size = np.abs(row)
        limit = 0.05 * size.max() if layer.trained_scale else 0.7 * size.mean()
        columns.append(np.where(size > limit, np.sign(row) * size[size > limit].mean(), 0))
    values = np.stack(columns, 1)
    moved = np.moveaxis(kernel, axes, range(len(axes))).shape
    return np.moveaxis(values.reshape(moved), range(len(axes)), axes)


@kinds
@modes
def test_computes_what_the_stock_layer_does_with_the_ternary_kernel(kind, trained):
    layer, x, axes = wrapped(kind, trained)
    expected = expected_kernel(layer, axes)
    assert (expected == 0).any()
    np.testing.assert_allclose(numbers(layer.rounded_kernel()), expected, rtol=1e-5)
    stock = KINDS[kind][0]()
    stock.build(x.shape)
    stock.set_weights([expected, *map(numbers, layer.layer.weights[1:])])
    np.testing.assert_allclose(numbers(layer(x)), numbers(stock(x)), rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == stock(x).shape


@modes
def test_gradients_are_the_papers(trained):
    """Of a stock layer that holds the ternary kernel, times the closed forms."""
    layer, x, axes = wrapped("Conv2D", trained)
    upstream = draw(layer.compute_output_shape(x.shape), seed=5)
    found = dict(
        zip(
            ["x", *(w.path.rpartition("/")[2] for w in layer.trainable_variables)],
            checks.layer_gradients(layer, x, upstream),
            strict=True,
        )
    )
    stock = KINDS["Conv2D"][0]()
    stock.build(x.shape)
    kernel = numbers(layer.rounded_kernel())
    stock.set_weights([kernel, numbers(layer.layer.bias)])
    of_x, of_kernel, of_bias = checks.layer_gradients(stock, x, upstream)
    if trained:
        signs, scale = np.sign(kernel), numbers(layer.scale)
        of_scale = (of_kernel * signs).sum(axis=axes, keepdims=True)
        np.testing.assert_allclose(found["scale"], of_scale, rtol=1e-3, atol=1e-4)
        of_kernel = of_kernel * np.where(signs != 0, scale, 1)
    for name, expected in (("x", of_x), ("kernel", of_kernel), ("bias", of_bias)):
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-4)


def test_filters_of_zeros_stay_zeros():
    for trained in (False, True):
        layer, x, _ = wrapped("Dense", trained)
        layer.kernel.assign(np.zeros(layer.kernel.shape))
        layer.start()
        assert not numbers(layer.rounded_kernel()).any()
        assert np.isfinite(numbers(layer(x))).all()


@modes
def test_saves_lowers_trains(trained, tmp_path):
    layer, x, _ = wrapped("Conv2D", trained)
    assert_lowered_is_the_same(layer, x)
    assert_same_after_saving(layer, x, tmp_path)
    assert_config_round_trip(layer)
    assert_every_weight_moves_from_here(layer, x)
    assert len(layer.trainable_weights) == 2 + trained


def test_refuses():
    with pytest.raises(ValueError, match=r"layer must be one of Conv2D.* Received: LSTM"):
        TernaryWeights(keras.layers.LSTM(3))
    with pytest.raises(ValueError, match=r"threshold must be from 0 to below 1\. Received: 1"):
        TernaryWeights(keras.layers.Dense(3), threshold=1)
