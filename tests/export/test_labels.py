"""Files that say themselves what they take, for `tfcompress.load`."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress import Metadata
from tfcompress.errors import InputError
from tfcompress.runtime import LiteModel
from tfcompress.tflite import metadata

X = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3)).astype("float32")
LABELS = ("cat", "dog", "emu")


def net(*first, shape=(8, 8, 3)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *first, layers.Flatten(), layers.Dense(3)])


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_a_model_that_scales_pixels_itself_loads_as_it_is(tmp_path, storage):
    model, path = net(layers.Rescaling(1 / 255)), tmp_path / "m.tflite"
    tfcompress.export(model, path, storage=storage, representative=X, labels=LABELS)
    said = metadata.read(path)
    assert (said.mean, said.std, said.labels) == ((0,), (1,), LABELS)
    classify = tfcompress.load(path)
    for image in X[:5]:
        best = classify(image.astype("uint8"))[0]
        scores = np.asarray(model(image[None]))[0]
        # The labels of scores that are nearly equal may change places in integers.
        assert scores[LABELS.index(best.label)] >= scores.max() - 0.1


def test_bytes_are_pixels_then(tmp_path):
    path = tmp_path / "m.tflite"
    tfcompress.export(
        net(layers.Rescaling(1 / 255)), path, storage="int8", representative=X, io="uint8"
    )
    assert LiteModel(path).input_grid == (1.0, 0)


def test_what_is_given_comes_first(tmp_path):
    path = tmp_path / "m.tflite"
    given = Metadata(name="mine", mean=(3,), std=(4,), labels=LABELS)
    tfcompress.export(net(layers.Rescaling(1 / 255)), path, metadata=given, labels=LABELS)
    assert metadata.read(path) == given
    with pytest.raises(InputError, match="name different labels"):
        tfcompress.export(net(), path, metadata=given, labels=LABELS[::-1])


@pytest.mark.parametrize(
    ("first", "shape"), [((), (8, 8, 3)), ((layers.Rescaling(1 / 255),), (6,))]
)
def test_others_say_nothing(tmp_path, first, shape):
    """No pixels, or nothing known of them."""
    path = tmp_path / "m.tflite"
    tfcompress.export(net(*first, shape=shape), path)
    assert metadata.read(path) is None


def test_labels_of_another_number(tmp_path):
    with pytest.raises(InputError, match="2 labels to a file with 3 outputs"):
        tfcompress.export(net(), tmp_path / "m.tflite", labels=LABELS[:2])
    assert list(tmp_path.iterdir()) == []
