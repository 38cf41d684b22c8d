"""Kernels on 256 levels, activations rounded before each product, a file that is no smaller."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.counts import PLAIN
from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.layers import HashedDense, MinMaxQuantize

PARAMETERS = PLAIN

METHOD = techniques.get("minmax8")


def made(model, **options):
    return METHOD.transform(techniques.Candidate(model), METHOD.make_options(**options))


def test_kernels_are_their_nearest_levels(small):
    model = small()
    rounded = made(model, bits=3).model
    for name in ("conv1", "conv2", "conv3", "logits"):
        before = np.asarray(model.get_layer(name).kernel)
        after = np.asarray(rounded.get_layer(name).kernel)
        levels = np.linspace(before.min(), before.max(), 8)
        assert len(np.unique(after)) <= 8
        nearest = levels[np.abs(before[..., None] - levels).argmin(-1)]
        np.testing.assert_allclose(after, nearest, atol=1e-6)


def test_each_product_gets_levels_before_it(small):
    candidate = made(small())
    found = [layer for layer in candidate.model.layers if isinstance(layer, MinMaxQuantize)]
    assert [layer.name for layer in found] == [
        f"{name}_levels" for name in ("conv1", "conv2", "conv3", "logits")
    ]
    assert sum(line.action == "quantised" for line in candidate.layers) == 4
    assert {line.kind for line in candidate.layers if line.action == "kept"} == {
        "BatchNormalization"
    }


def test_a_shared_layer_is_rounded_once(small):
    x = inputs = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    for _ in range(2):
        x = shared(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    names = [layer.name for layer in made(model).model.layers]
    assert names.count("shared") == names.count("shared_levels") == 1


def test_the_file_is_no_smaller(small, tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 16, 16, 3)).astype("float32")
    before = tfcompress.export(small(), tmp_path / "before.tflite", representative=x)
    after = tfcompress.export(made(small()).model, tmp_path / "m.tflite", representative=x)
    assert after.size_bytes > before.size_bytes
    with pytest.raises(InputError, match="MinMaxQuantize layers, which simulate"):
        tfcompress.export(
            made(small()).model, tmp_path / "m8.tflite", storage="int8", representative=x
        )


def test_a_model_without_stock_products_is_refused():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, HashedDense(64)(inputs))
    with pytest.raises(InputError, match="minmax8 takes Keras's own convolutions"):
        made(model)


@pytest.mark.parametrize("bits", [1, 17])
def test_bad_bits(bits):
    with pytest.raises(InputError, match=f"option bits must be from 2 to 16; got {bits}"):
        METHOD.make_options(bits=bits)
