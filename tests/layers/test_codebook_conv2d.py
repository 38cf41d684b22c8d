"""Convolutions of blocks: the kernel by loops, the mean gradient, k-means, files."""

import keras
import numpy as np
import pytest

from tests import checks
from tests.layers import compact
from tfcompress import graph
from tfcompress.layers import CodebookConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3), (6, 6, 16))
draw, numbers = compact.draw, compact.numbers
# Of an input and the layer; channels that the blocks' divide, and that they don't.
CASES = [
    pytest.param((6, 5, 4), {"kernel_size": 3}, 1, id="valid"),
    pytest.param((5, 6, 6), {"kernel_size": (3, 2), "padding": "same"}, 2, id="same"),
    pytest.param((7, 6, 5), {"kernel_size": 1, "strides": 2}, 2, id="1x1-strides"),
]
each_case = pytest.mark.parametrize(("shape", "options", "channels"), CASES)


def make(shape, channels=1, centroids=7, **options):
    options = {"kernel_size": 3, "block_channels": channels, "centroids": centroids, **options}
    layer = CodebookConv2D(10, **options)
    layer.build((None, *shape))
    rng = np.random.default_rng(1)
    layer.codebook.assign(draw(layer.codebook.shape, 2))
    layer.codes.assign(
        rng.integers(0, layer.codebook.shape[0], layer.codes.shape).astype("float32")
    )
    if layer.use_bias:
        layer.bias.assign(draw((10,), 3))
    return layer


def naive_kernel(layer, shape):
    height, width = layer.kernel_size
    book, codes = numbers(layer.codebook), numbers(layer.codes).astype(int)
    # 13 bits of a power of 2 at least as large as the largest value.
    step = 2.0 ** np.ceil(np.log2(np.abs(book).max() / 4096))
    groups = len(codes)
    wide = shape[-1] // groups
    kernel = np.zeros((height, width, shape[-1], 10))
    for i, j, channel, filter_ in np.ndindex(*kernel.shape):
        group, inside = divmod(channel, wide)
        value = book[codes[group, filter_], (i * width + j) * wide + inside]
        kernel[i, j, channel, filter_] = np.rint(value / step) * step
    return kernel


@each_case
def test_forward_is_the_loops(shape, options, channels):
    layer = make(shape, channels, activation="relu", **options)
    x = draw((2, *shape))
    kernel = naive_kernel(layer, shape)
    np.testing.assert_array_equal(numbers(layer.logical_kernel()), kernel)
    expected = checks.conv2d(x, kernel, strides=layer.strides, padding=layer.padding)
    expected = np.maximum(expected + numbers(layer.bias), 0)
    np.testing.assert_allclose(numbers(layer(x)), expected, rtol=1e-4, atol=1e-5)


@each_case
def test_gradients_are_the_means_over_the_codes(shape, options, channels):
    layer = make(shape, channels, **options)
    x = draw((2, *shape))
    upstream = draw(layer(x).shape, 9)
    of_x, of_book, of_bias = checks.layer_gradients(layer, x, upstream)
    stock = keras.layers.Conv2D(10, **options)
    stock.build(x.shape)
    stock.set_weights([naive_kernel(layer, shape), numbers(layer.bias)])
    expected_x, whole, expected_bias = checks.layer_gradients(stock, x, upstream)
    np.testing.assert_allclose(of_x, expected_x, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(of_bias, expected_bias, rtol=1e-3, atol=1e-4)
    blocks, codes = layer.blocks_of(whole), numbers(layer.codes).ravel().astype(int)
    for code, found in enumerate(of_book):
        members = blocks[codes == code]
        expected = members.mean(0) if len(members) else 0
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@each_case
def test_a_kernel_of_few_blocks_comes_back(shape, options, channels):
    layer = make(shape, channels, **options)
    kernel, bias = naive_kernel(layer, shape), draw((10,), 5)
    layer.codebook.assign(np.zeros(layer.codebook.shape))
    layer.project(kernel, bias)
    np.testing.assert_allclose(numbers(layer.logical_kernel()), kernel, atol=1e-3)
    np.testing.assert_array_equal(numbers(layer.bias), bias)


def test_moments_are_of_what_a_block_sees():
    """So that outputs are nearer by them, on inputs whose channels differ."""
    layer = CodebookConv2D(40, 3, centroids=8, padding="same", use_bias=False, block_channels=2)
    layer.build((None, 5, 5, 6))
    rows = draw((50, 3 * 3 * 6)) * np.linspace(0.1, 3, 3 * 3 * 6, dtype="float32")
    moments = layer.moments_of(rows)
    cut = rows.reshape(50, 9, 3, 2)
    expected = np.mean([np.outer(c[:, g].ravel(), c[:, g].ravel())
                        for c in cut for g in range(3)], 0)  # fmt: skip
    np.testing.assert_allclose(moments, expected, rtol=1e-4, atol=1e-5)
    kernel = draw((3, 3, 6, 40), 4)

    def off():
        return np.square(rows @ (kernel - numbers(layer.logical_kernel())).reshape(54, 40)).mean()

    layer.project(kernel)
    plain = off()
    layer.project(kernel, moments=moments)
    assert off() < 0.95 * plain


def test_sizes_of_the_codebook():
    def shapes(channels, filters=64, **options):
        layer = CodebookConv2D(filters, 3, **options)
        layer.build((None, 9, 9, channels))
        return layer.codebook.shape, layer.codes.shape

    assert shapes(16) == ((181, 9), (16, 64))
    # A quarter of the blocks.
    assert shapes(4) == ((64, 9), (4, 64))
    assert shapes(1, 2) == ((1, 9), (1, 2))
    assert shapes(16, block_channels=4, centroids=50) == ((50, 36), (4, 64))
    assert shapes(10, block_channels=4, centroids=50) == ((50, 18), (5, 64))
    layer = make((6, 6, 4), centroids=7)
    assert graph.parameters(keras.Sequential([keras.Input((6, 6, 4)), layer])) == 7 * 9 + 10


def test_macs_are_the_logical_layers():
    inputs = keras.Input((9, 8, 4))
    model = keras.Model(inputs, CodebookConv2D(16, 3, strides=2)(inputs))
    assert graph.macs(model) == 4 * 3 * 3 * 3 * 4 * 16


def test_lowers_saves_trains(tmp_path):
    layer = make((6, 6, 4), 2, strides=2, padding="same", activation="tanh")
    x = draw((2, 6, 6, 4))
    model = compact.assert_lowered_is_the_same(layer, x)
    assert [type(each) for each in model.layers[1:]] == [keras.layers.Conv2D]
    compact.assert_same_after_saving(layer, x, tmp_path)
    compact.assert_config_round_trip(layer)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    before = [numbers(weight) for weight in layer.weights]
    checks.train_one_step(model, x, draw(model(x).shape, seed=5))
    moved = [not np.array_equal(a, numbers(b)) for a, b in zip(before, layer.weights, strict=True)]
    assert dict(zip([w.name for w in layer.weights], moved, strict=True)) == {
        "codebook": True,
        "codes": False,
        "bias": True,
    }


def test_half_precision_keeps_codes_and_codebook():
    half, full = (make((6, 6, 16), dtype=dtype) for dtype in ("mixed_float16", "float32"))
    half.codebook.assign(full.codebook)
    np.testing.assert_array_equal(numbers(half.logical_kernel()), numbers(full.logical_kernel()))
    x = draw((1, 6, 6, 16))
    out = half(x)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    np.testing.assert_allclose(numbers(out), numbers(full(x)), rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_format": "channels_first"}, "channels_last images.*'channels_first'"),
        ({"groups": 2}, "has no groups.*groups=2"),
        ({"centroids": 1}, "centroids must be a whole number from 2 to 2048.*centroids=1"),
        ({"centroids": 4096}, "centroids must be a whole number from 2 to 2048.*centroids=4096"),
        ({"block_channels": 0}, "block_channels must be .*block_channels=0"),
        ({"lora_rank": 2}, "LoRA isn't available.*lora_rank=2"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        CodebookConv2D(4, 3, **options)
