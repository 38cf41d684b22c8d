"""Dense layers of blocks; `test_codebook_conv2d.py` tests what both share."""

import keras
import numpy as np
import pytest

from tests import checks
from tests.layers import compact
from tfcompress import graph
from tfcompress.layers import CodebookDense

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((16,), (40,))
draw, numbers = compact.draw, compact.numbers


def make(shape, **options):
    layer = CodebookDense(6, centroids=5, **options)
    layer.build((None, *shape))
    for seed, weight in enumerate(layer.trainable_weights, start=1):
        weight.assign(draw(weight.shape, seed))
    codes = np.random.default_rng(1).integers(0, layer.codebook.shape[0], layer.codes.shape)
    layer.codes.assign(codes.astype("float32"))
    return layer


@pytest.mark.parametrize(("shape", "wide", "count"), [((12,), 4, 4), ((3, 10), 2, 5), ((7,), 1, 5)])
def test_forward_gradients_and_files(shape, wide, count, tmp_path):
    """Of 12 inputs in blocks of 4; of 10 and 7, which 4 doesn't divide, in blocks of 2 and 1.

    Of 18 blocks, 4 are a quarter.
    """
    layer, x = make(shape, activation="tanh"), draw((2, *shape))
    codes, book = numbers(layer.codes).astype(int), numbers(layer.rounded_codebook())
    expected = np.zeros((shape[-1], 6))
    for i, unit in np.ndindex(*expected.shape):
        expected[i, unit] = book[codes[i // wide, unit], i % wide]
    np.testing.assert_array_equal(numbers(layer.logical_kernel()), expected)
    np.testing.assert_allclose(
        numbers(layer(x)), np.tanh(x @ expected + numbers(layer.bias)), rtol=1e-4, atol=1e-5
    )
    upstream = draw((*x.shape[:-1], 6), 9)
    _, of_book, _ = checks.layer_gradients(layer, x, upstream)
    stock = keras.layers.Dense(6, activation="tanh")
    stock.build(x.shape)
    stock.set_weights([expected, numbers(layer.bias)])
    blocks = layer.blocks_of(checks.layer_gradients(stock, x, upstream)[1])
    for code, found in enumerate(of_book):
        mine = blocks[codes.ravel() == code]
        np.testing.assert_allclose(found, mine.mean(0) if len(mine) else 0, rtol=1e-3, atol=1e-4)
    compact.assert_lowered_is_the_same(layer, x)
    compact.assert_same_after_saving(layer, x, tmp_path)
    compact.assert_config_round_trip(layer)
    model = keras.Sequential([keras.Input(shape), layer])
    assert graph.parameters(model) == count * wide + 6
    assert graph.macs(model) == np.prod(shape) * 6


def test_trains_its_codebook():
    layer, x = make((12,), use_bias=False), draw((4, 12))
    before = numbers(layer.codebook)
    checks.train_one_step(keras.Sequential([keras.Input((12,)), layer]), x, draw((4, 6), 5))
    assert (numbers(layer.codebook) != before).all()
    assert len(layer.trainable_weights) == 1


def test_has_no_lora():
    with pytest.raises(NotImplementedError, match="LoRA isn't available"):
        make((12,)).enable_lora(2)
