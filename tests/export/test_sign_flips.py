import keras
import numpy as np
import pytest
from keras import layers

from tests.export.test_verify import dense_net, float_file, numbers
from tfcompress.export import ExportError, export, sign_flips
from tfcompress.layers import BinaryDense


def explained(model, other, images, tmp_path):
    """Whose rows may differ in the file of another model."""
    path = float_file(other, tmp_path / "m.tflite")
    return list(np.flatnonzero(sign_flips.explained(model, path, images)))


def test_explains_signs_that_rounding_turns(tmp_path):
    images = numbers(20, ties=(3, 11))  # -1e-7, which a shift of 1e-6 makes positive
    found = sign_flips.explained(
        dense_net(), float_file(dense_net(1e-6), tmp_path / "m.tflite"), images
    )
    assert found.dtype == bool
    assert list(np.flatnonzero(found)) == [3, 11]


def test_explains_levels_that_rounding_turns(tmp_path):
    """A value just below where the level 2 begins, which a shift lifts above it."""

    def net(shift):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8,))
        x = layers.Rescaling(1.0, offset=shift)(inputs)
        return keras.Model(inputs, BinaryDense(3, input_bits=2)(x))

    images = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")
    images[[3, 11], 2] = np.float32(1.5) * np.float32(0.651) - np.float32(5e-7)
    images[5, 2] = np.float32(1.5) * np.float32(0.651) - np.float32(5e-4)
    assert explained(net(0.0), net(1e-6), images, tmp_path) == [3, 11]
    assert explained(net(0.0), net(1e-3), images, tmp_path) == [3, 11]


def test_does_not_explain_equal_signs(tmp_path):
    assert explained(dense_net(), dense_net(), numbers(20, ties=(3, 11)), tmp_path) == []


def test_does_not_explain_signs_that_more_than_rounding_turns(tmp_path):
    images = numbers(20, ties=(3,), at=-1e-3)
    assert explained(dense_net(), dense_net(2e-3), images, tmp_path) == []


def test_one_turned_too_far_spoils_the_image(tmp_path):
    images = numbers(20, ties=(3, 5))
    images[5, 6] = -1e-7
    images[3, 6] = -1e-3
    assert explained(dense_net(), dense_net(2e-3), images, tmp_path) == [5]
    assert explained(dense_net(), dense_net(1e-6), images, tmp_path) == [3, 5]


def test_sums_that_are_zero_in_untrained_networks(tmp_path):
    """By their distribution: half of n signs of either kind, about sqrt(2 / (pi n)) of the sums."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    x = BinaryDense(64, name="one")(inputs)
    net = keras.Model(inputs, BinaryDense(200, name="two")(x))
    images = np.random.default_rng(0).normal(size=(40, 64)).astype("float32")
    # Of the values before the two layers' signs the first layer's are the numbers that go in.
    expected = np.sqrt(2 / (np.pi * 64)) / 2
    assert 0.7 * expected < sign_flips.near_zero(net, images) < 1.3 * expected
    net.get_layer("one").bias.assign(np.full(64, 0.1))
    assert sign_flips.near_zero(net, images) < 1e-3
    assert sign_flips.near_zero(keras.Model(inputs, layers.Dense(2)(inputs)), images) == 0


def test_the_gate_says_that_a_network_is_untrained(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    net = keras.Model(inputs, BinaryDense(5)(BinaryDense(64)(inputs)))
    images = np.random.default_rng(0).normal(size=(40, 64)).astype("float32")
    said = (
        r"% of the values before signs are 0 but for rounding, .*: train it first, or use float32"
    )
    with pytest.raises(ExportError, match=said) as caught:
        export(net, tmp_path / "m.tflite", storage="1bit", representative=images)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def two_layers(shift):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8,))
    nested = keras.Sequential([keras.Input((8,)), BinaryDense(8)], name="nested")
    x = nested(layers.Rescaling(1.0, offset=shift)(inputs))
    x = layers.Rescaling(1.0, offset=0.05)(x)  # Sums of signs are often 0 themselves.
    x = BinaryDense(8)(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def test_what_follows_a_tie_may_differ_freely(tmp_path):
    images = numbers(20, ties=(3, 11))
    model, other = two_layers(0.0), two_layers(1e-6)
    path = float_file(other, tmp_path / "m.tflite")
    assert list(np.flatnonzero(sign_flips.explained(model, path, images))) == [3, 11]


def test_no_binary_inputs_explain_nothing(tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, BinaryDense(3, binarize_inputs=False)(inputs))
    assert explained(model, model, np.zeros((5, 8), np.float32), tmp_path) == []


def test_a_file_without_the_signs_explains_nothing(tmp_path):
    inputs = keras.Input((8,))
    plain = keras.Model(inputs, layers.Dense(3)(inputs))
    assert explained(dense_net(), plain, numbers(5, ties=(1,)), tmp_path) == []
