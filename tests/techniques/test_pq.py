"""Layers with codebooks: which, of what blocks, from which weights and inputs."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.counts import CONV2, ENDS, NORMS
from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.layers import CodebookConv2D, CodebookDense

# Of conv3's 256 blocks a quarter, of 9 weights each.
PARAMETERS = ENDS + NORMS + CONV2 + 64 * 9

TECHNIQUE = techniques.get("pq")


def net():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 32), name="in")
    x = layers.Conv2D(32, 3, use_bias=False, strides=2, name="conv")(x)
    x = layers.Conv2D(64, 1, activation="relu", name="one")(x)
    x = layers.Dense(64, activation="tanh", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name="net")


def quantised(model, samples=None, **options):
    candidate = techniques.Candidate(model, samples=samples)
    return TECHNIQUE.transform(candidate, TECHNIQUE.make_options(**options))


def images(count=32):
    return np.random.default_rng(1).normal(size=(count, 6, 6, 32)).astype("float32")


def test_blocks_by_kind_of_layer():
    done = quantised(net(), dense_block="8", centroids="32")
    model = done.model
    assert [type(model.get_layer(name)) for name in ("conv", "one", "hidden", "logits")] == [
        CodebookConv2D,
        CodebookConv2D,
        CodebookDense,
        layers.Dense,
    ]
    assert model.get_layer("conv").codebook.shape == (32, 9)
    assert model.get_layer("one").codebook.shape == (32, 8)
    assert model.get_layer("hidden").codes.shape == (2 * 2 * 64 // 8, 64)
    assert [(line.name, line.action) for line in done.layers] == [
        ("conv", "quantised"),
        ("one", "quantised"),
        ("hidden", "quantised"),
        ("logits", "kept"),
    ]
    assert done.layers[0].reason == "1,024 blocks of 9 weights from a codebook of 32"
    assert done.layers[-1].reason.startswith("too small to gain: codes and codebook take")


def test_starts_near_the_network_and_nearer_by_what_its_layers_see():
    model, x = net(), images()
    x *= np.linspace(0, 3, 32, dtype="float32")
    wanted = np.asarray(model(x))

    def off(done):
        return np.square(np.asarray(done.model(x)) - wanted).mean() / wanted.var()

    plain, weighted = quantised(model, x, weighting="none"), quantised(model, x)
    assert off(weighted) < off(plain) < 1
    np.testing.assert_array_equal(
        weighted.model.get_layer("hidden").bias, model.get_layer("hidden").bias
    )
    # Weights beyond their number of different blocks come back.
    first = plain.model.get_layer("conv")
    model.get_layer("conv").set_weights([np.asarray(first.logical_kernel())])
    again = quantised(model, weighting="none").model.get_layer("conv")
    np.testing.assert_allclose(again.logical_kernel(), first.logical_kernel(), atol=1e-3)


def test_layers_are_left():
    only_dense = quantised(net(), include="dense")
    assert [line.action for line in only_dense.layers] == ["kept", "kept", "quantised", "kept"]
    left = quantised(net(), leave="hid*,conv")
    assert [line.action for line in left.layers] == ["kept", "quantised", "kept", "kept"]
    assert "named in the option leave" in {line.reason for line in left.layers}
    with pytest.raises(InputError, match=r"no layer of model 'net' can be quantised"):
        quantised(net(), leave="*")


def test_convolutions_over_one_axis_and_einsums():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((20, 32))
    x = layers.Conv1D(32, 5, name="line")(layers.Conv1D(32, 3, name="first")(x))
    x = layers.EinsumDense("abc,cde->abde", (None, 8, 16), name="heads")(x)
    done = quantised(keras.Model(inputs, x)).layers
    assert {line.name: line.kind for line in done if line.action == "quantised"} == {
        "first": "Conv1D",
        "line": "Conv1D",
        "heads": "EinsumDense",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"centroids": 1}, "option centroids must be from 2 to 2048; got 1"),
        ({"conv_block": 0}, "option conv_block must be 1 or more; got 0"),
        ({"weighting": "hessian"}, "option weighting"),
        ({"include": "conv"}, "option include"),
        ({"leave": ("nothing*",)}, r"no layer is named 'nothing\*'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        tfcompress.transform(net(), "pq", **options)
