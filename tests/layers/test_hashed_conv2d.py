import math

import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers import compact
from tests.ops.test_hashing import elementwise, permutation
from tfcompress import graph
from tfcompress.layers import HashedConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3), (6, 6, 16))

draw = compact.draw
each_kind = pytest.mark.parametrize("kind", ["permutation", "elementwise"])
# Image size, channels, and the layer's geometry.
CASES = [
    pytest.param((6, 5), 4, {"kernel_size": 3}, id="valid"),
    pytest.param((5, 6), 3, {"kernel_size": (3, 2), "padding": "same"}, id="same"),
    pytest.param(
        (7, 6), 4, {"kernel_size": 3, "strides": (2, 1), "padding": "same"}, id="same-strides"
    ),
    pytest.param((5, 4), 5, {"kernel_size": 1, "strides": 2}, id="1x1"),
    pytest.param(
        (6, 6), 3, {"kernel_size": 3, "dilation_rate": 2, "padding": "same"}, id="dilation"
    ),
]
each_case = pytest.mark.parametrize(("size", "channels", "options"), CASES)


def make(kind, x, filters=10, ratio=1 / 4, **options):
    layer = HashedConv2D(
        filters, compression_ratio=ratio, hashing=kind, hash_seed=5, **{"kernel_size": 3, **options}
    )
    layer.build(x.shape)
    layer.set_weights([draw(w.shape, seed) for seed, w in enumerate(layer.weights, start=1)])
    return layer


def naive_kernel(layer, channels):
    weights = ops.convert_to_numpy(layer.kernel)
    height, width = layer.kernel_size
    shape = height, width, channels, layer.filters
    if layer.hashing == "elementwise":
        return elementwise(weights, height * width * channels, layer.filters, 5).reshape(shape)
    kernel = np.zeros(shape)
    blocks = math.ceil(layer.filters / weights.shape[-1])
    for i in range(height):
        for j in range(width):
            kernel[i, j], _ = permutation(weights[i, j], channels, layer.filters, blocks, 5)
    return kernel


@each_kind
@each_case
def test_forward_is_the_loops(size, channels, options, kind):
    x = draw((2, *size, channels))
    layer = make(kind, x, activation="relu", **options)
    expected = checks.conv2d(
        x,
        naive_kernel(layer, channels),
        strides=layer.strides,
        padding=layer.padding,
        dilation=layer.dilation_rate,
    )
    expected = np.maximum(expected + ops.convert_to_numpy(layer.bias), 0)
    actual = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *actual.shape[1:])


@each_kind
def test_gradients_are_the_stock_layers_summed_over_places(kind):
    x = draw((2, 6, 6, 4))
    layer = make(kind, x, hash_bias=True)
    upstream = draw((2, 4, 4, 10), 9)
    of_x, of_kernel, of_bias = checks.layer_gradients(layer, x, upstream)
    stock = keras.layers.Conv2D(10, 3)
    stock.build(x.shape)
    stock.set_weights([naive_kernel(layer, 4), np.zeros(10)])
    expected_x, whole, whole_bias = checks.layer_gradients(stock, x, upstream)
    np.testing.assert_allclose(of_x, expected_x, rtol=1e-3, atol=1e-3)
    for found, weight, total, naive in (
        (of_kernel, layer.kernel, whole, lambda: naive_kernel(layer, 4)),
        (
            of_bias,
            layer.bias,
            whole_bias,
            lambda: elementwise(ops.convert_to_numpy(layer.bias), 1, 10, 5)[0],
        ),
    ):
        expected = np.zeros(weight.shape)
        for index in np.ndindex(*weight.shape):
            alone = np.zeros(weight.shape, "float32")
            alone[index] = 1
            weight.assign(alone)
            expected[index] = 0.5 * (naive() * total).sum()  # sqrt(1/4)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_parameter_counts():
    def count(filters, **options):
        layer = HashedConv2D(filters, (3, 5), **options)
        layer.build((None, 9, 9, 4))
        return layer.count_params()

    assert count(16) == 3 * 5 * 4 * 2 + 16
    assert count(16, hashing="elementwise", hash_bias=True) == 3 * 5 * 4 * 16 // 8 + 2
    assert count(10, compression_ratio=1 / 4, use_bias=False) == 3 * 5 * 4 * 3


@each_kind
def test_macs_are_the_logical_layers(kind):
    inputs = keras.Input((9, 8, 4))
    model = keras.Model(inputs, HashedConv2D(16, 3, strides=2, hashing=kind)(inputs))
    assert graph.macs(model) == 4 * 3 * 3 * 3 * 4 * 16


@each_kind
def test_projection_undoes_expansion(kind):
    x = draw((1, 5, 5, 4))
    layer = make(kind, x)
    kernel, bias = ops.convert_to_numpy(layer.logical_kernel()), draw((10,), 3)
    layer.set_weights([np.zeros(w.shape) for w in layer.weights])
    layer.project(kernel, bias)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), kernel, rtol=1e-5)
    np.testing.assert_array_equal(layer.get_weights()[1], bias)


@each_kind
def test_config_and_saving(kind, tmp_path):
    x = draw((2, 6, 6, 4))
    layer = make(kind, x, strides=2, padding="same", hash_bias=True, gradient_scale=0.5)
    compact.assert_config_round_trip(layer)
    compact.assert_same_after_saving(layer, x, tmp_path)


@each_kind
def test_one_train_step_moves_every_weight(kind):
    keras.utils.set_random_seed(0)
    layer = HashedConv2D(8, 3, hashing=kind, hash_bias=True)
    model = keras.Sequential([keras.Input((6, 6, 4)), layer])
    before = model.get_weights()
    checks.train_one_step(model, draw((2, 6, 6, 4)), draw((2, 4, 4, 8), 1))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert (old != new).all()


@each_kind
def test_mixed_precision(kind):
    x = draw((2, 5, 5, 4))
    half, full = make(kind, x, dtype="mixed_float16"), make(kind, x)
    out = half(x)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    expected = ops.convert_to_numpy(full(x))
    np.testing.assert_allclose(ops.convert_to_numpy(out), expected, rtol=0.02, atol=0.1)
    for gradient in checks.layer_gradients(half, x, np.ones(out.shape, "float16")):
        assert np.isfinite(gradient).all()


@each_kind
@each_case
@pytest.mark.parametrize("filters", [12, 10])
def test_lowered_is_the_layer_in_stock_layers(size, channels, options, kind, filters):
    x = draw((2, *size, channels))
    layer = make(kind, x, filters, activation="tanh", hash_bias=True, **options)
    model = compact.assert_lowered_is_the_same(layer, x)
    (conv,) = [stock for stock in model.layers if stock.weights]
    assert type(conv) is keras.layers.Conv2D
    assert conv.name == layer.name
    assert conv.filters == (3 if kind == "permutation" else filters)


def test_lower_needs_known_sizes():
    layer = make("permutation", draw((1, 6, 6, 4)))
    with pytest.raises(ValueError, match=r"only the batch's may be unknown.*None, None, 6, 4"):
        layer.lower()(keras.Input((None, 6, 4)))
    inputs = keras.Input((None, None, 4))
    assert keras.Model(inputs, layer(inputs)).output_shape == (None, None, None, 10)


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="an export takes TensorFlow")
@each_kind
def test_exported_file_is_the_same_and_small(kind, tmp_path):
    x = draw((3, 6, 6, 32))
    layer = make(kind, x, 64, 1 / 8, padding="same", activation="relu")
    written = compact.assert_export_is_the_same(layer, x, tmp_path)
    # The file's convolution has 8 zeros for a bias of its own, or the expansion the two signs.
    more = 8 if kind == "permutation" else 2
    assert written.weight_bytes["float32"] == 4 * (9 * 32 * 64 // 8 + 64 + more)
    if kind == "permutation":
        assert written.weight_bytes["int32"] < 4 * 32 * 8 + 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_format": "channels_first"}, "channels_last images.*'channels_first'"),
        ({"groups": 2}, "has no groups.*groups=2"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        HashedConv2D(4, 3, **options)
