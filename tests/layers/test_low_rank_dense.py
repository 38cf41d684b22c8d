"""LowRankDense and TTDense: what both must do, and their formulas and counts."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests import checks
from tests.layers.test_factorised_conv2d import draw
from tfcompress import graph
from tfcompress.layers import LowRankDense, TTDense

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((5, 2), (7,))

# JAX compiles every new shape.
EXAMPLES = 12 if keras.backend.backend() == "tensorflow" else 3

each = pytest.mark.parametrize("kind", [LowRankDense, TTDense])


def with_weights(layer, inputs, seed=1):
    layer.build((None, inputs))
    layer.set_weights([0.5 * draw(w.shape, seed + at) for at, w in enumerate(layer.weights)])
    return layer


@each
@pytest.mark.parametrize("between", [(), (3,), (2, 3)])
def test_forward_is_the_product_with_its_kernel(kind, between):
    x = draw((2, *between, 12))
    layer = with_weights(kind(10, rank=3, activation="relu"), 12)
    kernel, bias = ops.convert_to_numpy(layer.logical_kernel()), layer.get_weights()[-1]
    expected = np.zeros((*x.shape[:-1], 10))
    for at in np.ndindex(*x.shape[:-1]):
        expected[at] = [max(0, x[at] @ kernel[:, unit] + bias[unit]) for unit in range(10)]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-4)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *between, 10)


@each
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(
    inputs=st.integers(1, 24), units=st.integers(1, 24), bias=st.booleans(), seed=st.integers(0, 9)
)
def test_full_rank_is_identity(kind, inputs, units, bias, seed):
    x = draw((3, inputs), seed)
    dense = keras.layers.Dense(units, use_bias=bias, activation="tanh", name="mine")
    with_weights(dense, inputs, seed)
    layer = kind.from_dense(dense, kind.full_rank((inputs, units)))
    expected = ops.convert_to_numpy(dense(x))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-4)
    assert layer.decomposition_error < 1e-4
    assert layer.name == "mine"
    tensor = keras.Input((inputs,))
    lowered = keras.Model(tensor, layer.lower(activations="unit")(tensor))
    np.testing.assert_allclose(checks.predict(lowered, x), expected, atol=1e-4)
    stock = {type(op).__name__ for op in lowered.layers if op.weights}
    assert stock == {"Dense"}


@each
def test_lowered_keeps_the_axes_between(kind):
    x = draw((2, 3, 12))
    layer = with_weights(kind(10, rank=3), 12)
    tensor = keras.Input((3, 12))
    lowered = keras.Model(tensor, layer.lower()(tensor))
    checks.assert_same(checks.predict(lowered, x), ops.convert_to_numpy(layer(x)), atol=1e-4)


@each
def test_one_train_step_moves_every_weight(kind):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12,)), kind(10, rank=3)])
    before = model.get_weights()
    checks.train_one_step(model, draw((4, 12)), draw((4, 10), 1))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert (old != new).all()


@each
def test_gradients_are_the_full_kernels(kind):
    x, upstream = draw((4, 12)), draw((4, 10), 5)
    layer = with_weights(kind(10, rank=3), 12)
    stock = keras.layers.Dense(10)
    stock.build(x.shape)
    stock.set_weights([ops.convert_to_numpy(layer.logical_kernel()), layer.get_weights()[-1]])
    found = checks.layer_gradients(layer, x, upstream)
    expected = checks.layer_gradients(stock, x, upstream)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[-1], expected[-1], rtol=1e-3, atol=1e-4)


@each
def test_starts_with_the_scale_of_a_dense_layer(kind):
    keras.utils.set_random_seed(0)
    deviation = float(np.std(ops.convert_to_numpy(kind(256, rank=32)(draw((64, 256))))))
    assert 0.3 < deviation < 3


@each
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    inputs = keras.Input((12,))
    outputs = kind(4, rank=2, use_bias=False)(kind(10, rank=3, activation="relu")(inputs))
    model = keras.Model(inputs, outputs)
    x = draw((3, 12))
    loaded = checks.save_and_load(model, tmp_path)
    np.testing.assert_array_equal(checks.predict(loaded, x), checks.predict(model, x))
    config = model.layers[-1].get_config()
    assert kind.from_config(config).get_config() == config


@each
def test_mixed_precision(kind):
    x = draw((3, 12))
    half = with_weights(kind(10, rank=3, dtype="mixed_float16"), 12)
    out = half(x)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    expected = ops.convert_to_numpy(with_weights(kind(10, rank=3), 12)(x))
    np.testing.assert_allclose(ops.convert_to_numpy(out), expected, rtol=0.02, atol=0.05)


@each
def test_from_dense_keeps_what_isnt_the_kernel(kind):
    dense = with_weights(keras.layers.Dense(10, activation="relu", name="mine"), 12)
    dense.trainable = False
    layer = kind.from_dense(dense, 2)
    assert (layer.name, layer.trainable) == ("mine", False)
    assert layer.activation is keras.activations.relu
    assert 0 < layer.decomposition_error < 1


@each
def test_what_from_dense_refuses(kind):
    with pytest.raises(ValueError, match="'mine': it has no weights yet"):
        kind.from_dense(keras.layers.Dense(4, name="mine"), 2)
    with pytest.raises(ValueError, match="'mine': Conv2D has no"):
        kind.from_dense(keras.layers.Conv2D(4, 3, name="mine"), 2)


@each
@pytest.mark.parametrize(
    ("options", "message"), [({"units": 0}, "units must be"), ({"rank": -1}, "rank must be.*-1")]
)
def test_bad_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"units": 4, "rank": 2, **options})


def test_low_rank_counts():
    layer = with_weights(LowRankDense(100, rank=4), 50)
    assert layer.count_params() == 4 * (50 + 100) + 100
    assert layer.kernel_parameters((50, 100)) == layer.macs((None, 50), (None, 100)) == 600
    inputs = keras.Input((7, 50))
    assert graph.macs(keras.Model(inputs, layer(inputs))) == 7 * 600
