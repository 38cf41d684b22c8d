import keras
import numpy as np
import pytest
from keras import layers

from tests import checks
from tests.techniques.counts import CONV2, CONV3, ENDS, NORMS
from tfcompress import graph, techniques
from tfcompress.errors import InputError
from tfcompress.layers import HashedConv2D, HashedDense

# One stored column of the last layer for all four classes.
PARAMETERS = ENDS + NORMS + CONV2 + CONV3 - 4 * 4 * 16 * (4 - 1)

TECHNIQUE = techniques.get("hashed")


def hash_it(model, **options):
    return TECHNIQUE.transform(techniques.Candidate(model), TECHNIQUE.make_options(**options))


def lines(candidate):
    return {line.name: (line.action, line.reason) for line in candidate.layers}


def dense_net():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((12,), name="in")
    x = layers.Dense(32, activation="relu", name="one")(x)
    x = layers.Dense(16, use_bias=False, kernel_regularizer="l2", name="two")(x)
    return keras.Model(inputs, layers.Dense(8, activation="softmax", name="three")(x))


def test_every_dense_layer_is_hashed_with_a_seed_of_its_own():
    candidate = hash_it(dense_net(), hash_seed=3)
    hashed = [op for op in candidate.model.layers if isinstance(op, HashedDense)]
    assert [op.name for op in hashed] == ["one", "two", "three"]
    assert [op.hash_seed for op in hashed] == [3, 4, 5]
    assert [op.use_bias for op in hashed] == [True, False, True]
    assert hashed[1].kernel_regularizer is not None
    assert [op.activation.__name__ for op in hashed] == ["relu", "linear", "softmax"]
    assert graph.parameters(candidate.model) == (12 * 4 + 32) + 32 * 2 + (16 * 1 + 8)
    assert lines(candidate) == {
        "one": ("hashed", "permutation: 48 of 384 weights stored"),
        "two": ("hashed", "permutation: 64 of 512 weights stored"),
        "three": ("hashed", "permutation: 16 of 128 weights stored"),
    }


def test_the_papers_way():
    candidate = hash_it(
        dense_net(), hashing="elementwise", compression_ratio="0.1", hash_bias="true"
    )
    assert graph.parameters(candidate.model) == (38 + 3) + 51 + (13 + 1)


@pytest.mark.parametrize("hashing", ["permutation", "elementwise"])
def test_at_ratio_1_nothing_gains(hashing):
    with pytest.raises(
        InputError, match=r"can be hashed \(3 layers, such as one: too small to gain: 384 of 384"
    ):
        hash_it(dense_net(), compression_ratio=1.0, hashing=hashing)


@pytest.mark.parametrize("hashing", ["permutation", "elementwise"])
@pytest.mark.parametrize("hash_bias", [True, False])
def test_weights_of_a_hashed_net_come_back(hashing, hash_bias):
    """A net whose dense layers hold what hashing can hold loses nothing."""
    model = dense_net()
    options = {"hashing": hashing, "hash_bias": hash_bias}
    first = hash_it(model, **options).model
    for name in ("one", "two", "three"):
        hashed = first.get_layer(name)
        weights = [keras.ops.convert_to_numpy(hashed.logical_kernel())]
        if hashed.use_bias:
            weights.append(keras.ops.convert_to_numpy(hashed.logical_bias()))
        model.get_layer(name).set_weights(weights)
    x = np.random.default_rng(0).normal(size=(5, 12)).astype("float32")
    again = hash_it(model, **options).model
    checks.assert_same(checks.predict(again, x), checks.predict(model, x))


def test_scratch_starts_anew_and_keeps_the_others(small):
    model = small()
    keras.utils.set_random_seed(1)
    candidate = hash_it(model, init="scratch")
    for layer in model.layers:
        if layer.weights and layer.name != "logits":
            checks.assert_same(
                candidate.model.get_layer(layer.name).get_weights(), layer.get_weights()
            )
    kernel, bias = candidate.model.get_layer("logits").get_weights()
    assert kernel.std() > 0
    assert (bias == 0).all()
    assert lines(candidate)["conv2"] == ("kept", "convolution: option include=all hashes it")


def test_convolutions_but_the_first(small):
    candidate = hash_it(small(), include="all", compression_ratio=1 / 4)
    found = lines(candidate)
    assert found["conv1"][0] == "kept"
    assert found["conv1"][1].startswith("first weighted layer")
    assert found["conv2"] == ("hashed", "permutation: 288 of 1,152 weights stored")
    hashed = [op.name for op in candidate.model.layers if isinstance(op, HashedConv2D)]
    assert hashed == ["conv2", "conv3"]
    assert graph.macs(candidate.model) == graph.macs(small())


def test_a_first_convolution_of_many_channels_is_hashed():
    inputs = keras.Input((8, 8, 32))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="first")(inputs))
    candidate = hash_it(keras.Model(inputs, layers.Dense(4)(x)), include="all")
    assert isinstance(candidate.model.get_layer("first"), HashedConv2D)


def test_what_has_no_hashed_form_is_named():
    x = inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, name="first")(x)
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    model = keras.Model(inputs, layers.Dense(8, name="dense")(layers.Flatten()(x)))
    found = lines(hash_it(model, include="all"))
    assert found["grouped"] == ("kept", "2 groups; hashed convolutions have none")
    assert found["depthwise"][1].startswith("DepthwiseConv2D has no hashed form: each channel")
    assert found["dense"][0] == "hashed"
    with pytest.raises(InputError, match="no layer of model 'plain' can be hashed"):
        hash_it(keras.Model(inputs, layers.Conv2D(2, 1)(inputs), name="plain"))


def test_shared_and_several_outputs_and_nested():
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(8, name="inner")])
    shared = layers.Dense(8, name="shared")
    inputs = keras.Input((8,))
    x = shared(shared(inputs))
    model = keras.Model(inputs, [inner(x), layers.Dense(16, name="other")(x)])
    candidate = hash_it(model)
    assert graph.parameters(candidate.model) == 2 * (8 + 8) + (8 * 2 + 16)
    x = np.ones((2, 8), "float32")
    checks.assert_same(
        checks.predict(graph.lower(candidate.model), x), checks.predict(candidate.model, x)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression_ratio": "0.3"}, "1 by a whole number"),
        ({"compression_ratio": "2"}, "above 0 and at most 1"),
        ({"hashing": "xxhash"}, "hashing takes one of permutation, elementwise; got 'xxhash'"),
        ({"include": "conv"}, "include takes one of dense, all"),
        ({"hash_seed": -1}, "hash_seed must be 0 or more; got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.make_options(**options)
