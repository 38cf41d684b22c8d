"""Weights without their zeros: the tables by hand, the files against Keras."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.export.conftest import real_images
from tests.export.storages.limits import EXACT, sparse_net
from tests.techniques.conftest import randomise
from tfcompress.errors import InputError
from tfcompress.export import export
from tfcompress.export.storages import sparse
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.training import logits

# What the contract holds the storage to.
LIMITS = {"usual": EXACT, "binary": EXACT}
NET = sparse_net


# Share of zeros by layer; of `blocks` in fours of neighbouring inputs, of `few` too few to help.
ZEROS = {"first": 0.7, "depthwise": 0.6, "point": 0.8, "few": 0.1, "blocks": 0.9, "single": 0.9}


@pytest.fixture(scope="module")
def pruned():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((15, 15, 3), name="image")
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu", name="first")(x)
    x = layers.DepthwiseConv2D(5, depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2D(40, 1, activation="relu", name="point")(x)
    x = layers.Conv2D(16, 3, padding="same", name="few")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(300, activation="relu", name="blocks")(x)
    x = layers.Dense(90, name="single")(x)
    model = randomise(keras.Model(image, layers.Dense(5, name="scores")(x), name="pruned"), 0)
    random = np.random.default_rng(1)
    for name, share in ZEROS.items():
        kernel, *bias = model.get_layer(name).get_weights()
        if name == "blocks":
            there = np.repeat(random.random((len(kernel) // 4, 300)) >= share, 4, axis=0)
        else:
            there = random.random(kernel.shape) >= share
        model.get_layer(name).set_weights([kernel * there, *bias])
    return model


@pytest.fixture(scope="module")
def files(pruned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparse")
    return {
        name: export(pruned, folder / f"{name}.tflite", storage=name, representative=real_images(8))
        for name in ("float32", "sparse")
    }


@pytest.mark.parametrize(("axis", "block"), [(0, 1), (1, 1), (2, 1), (1, 4), (2, 2)])
def test_tables_give_the_weights_back(axis, block):
    random = np.random.default_rng(2)
    weights = random.normal(size=(5, 8, 6)) * (random.random((5, 8, 6)) < 0.3)
    found = sparse.sparse_weights(weights, axis, block)
    rows = [size for at, size in enumerate(weights.shape) if at != axis]
    dense, value = np.zeros((*rows, weights.shape[axis])), iter(found.values)
    for row, place in enumerate(np.ndindex(*rows)):
        for index in found.indices[found.segments[row] : found.segments[row + 1]]:
            for neighbour in range(block):
                dense[(*place, index * block + neighbour)] = next(value)
    assert next(value, None) is None
    np.testing.assert_array_equal(np.moveaxis(dense, -1, axis), weights)


def test_equals_keras_and_is_smaller(files, pruned):
    images = real_images(20, seed=5)
    expected = logits(pruned, images)
    got = LiteModel(files["sparse"].path).predict(images)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    assert files["sparse"].size_bytes < files["float32"].size_bytes / 3


def test_holds_the_values_and_their_tables_alone(files, pruned):
    constants = {
        tensor.name: tensor
        for tensor in read(files["sparse"].path).constants
        if tensor.name.endswith("/nonzero")
    }
    assert len(constants) == 5
    kernel = pruned.get_layer("single").kernel.numpy()
    count = int(np.count_nonzero(kernel))
    held = next(tensor for tensor in constants.values() if tensor.shape == kernel.shape[::-1])
    # Rows along the outputs' 90 places need a byte an index; along the inputs' 300 two.
    assert held.size_bytes == 4 * count + count + 2 * (300 + 1)
    before, after = (files[name].layer_bytes["single"] for name in ("float32", "sparse"))
    assert before - after == kernel.nbytes - held.size_bytes


def test_blocks_of_four_inputs_are_skipped_by_their_layer(files):
    content = read(files["sparse"].path)
    assert content.op_counts()["DENSIFY"] == 4
    quick = [op for op in content.ops if op.name == "FULLY_CONNECTED" and op.inputs[1].constant]
    assert [(op.version, op.inputs[1].shape[0]) for op in quick] == [(8, 300), (1, 5)]
    assert files["sparse"].min_runtime.startswith("TensorFlow Lite 2.3.0")


def test_layers_with_few_zeros_stay_as_they_are(files):
    kept = files["sparse"].kept
    assert sorted(kept) == ["few", "scores"]
    assert kept["few"].startswith("10% of its weights are zero: without them it takes ")


def test_all_zero_and_unpruned_layers_stay(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(64, name="zero"), layers.Dense(9)])
    model.get_layer("zero").set_weights([np.zeros((8, 64)), np.ones(64)])
    with pytest.raises(InputError, match=r"no layer of model .* with enough zeros .*prune"):
        export(model, tmp_path / "m.tflite", storage="sparse")
    assert not list(tmp_path.iterdir())
