"""What a file of floats says of weights that need fewer bytes."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.conftest import randomise
from tfcompress.export import few_values
from tfcompress.export.traits import traits_of
from tfcompress.layers import BinaryDense


def net(**kernels):
    """Two layers, `conv` and `dense`, whose weights are given or random."""
    image = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Conv2D(8, 3, name="conv")(image))
    model = randomise(keras.Model(image, layers.Dense(16, name="dense")(x)), 0)
    for name, kernel in kernels.items():
        model.get_layer(name).kernel.assign(kernel)
    return model


def notes(model):
    return few_values.notes(model, model, traits_of(model))


def whole_numbers(low, high, shape):
    """Whole numbers of a step for each filter, which lies on the last axis."""
    rng = np.random.default_rng(0)
    return rng.integers(low, high + 1, shape) * rng.uniform(0.1, 2.0, shape[-1])


DENSE = (288, 16)


@pytest.mark.parametrize(
    ("values", "bits", "storage"),
    [
        ((-1, 1), 2, "int2"),
        ((-2, 1), 2, "int2"),
        ((-7, 7), 4, "int4"),
        ((-8, 7), 4, "int4"),
        ((-127, 127), 8, "dynamic"),
    ],
)
def test_weights_on_a_grid(values, bits, storage):
    (note,) = notes(net(dense=whole_numbers(*values, DENSE)))
    assert note.startswith(f"the weights of dense need {bits} bits each and take 18.0 KiB")
    assert f"which would be {18 * bits / 32:,.1f}: storage '{storage}' writes them so" in note


def test_signs_times_a_magnitude():
    signs = np.where(whole_numbers(0, 1, DENSE) > 0, 1, -1) * np.linspace(0.1, 2, 16)
    (note,) = notes(net(dense=signs))
    assert "need 1 bit each and take 18.0 KiB as floats, which would be 0.6: storage '1bit'" in note
    assert "xnor" not in note  # Its inputs are floats.


def test_nothing_is_said_of_other_weights():
    assert notes(net()) == ()
    almost = whole_numbers(-7, 7, DENSE)
    almost[0, 0] *= 1.01
    (note,) = notes(net(dense=almost))
    assert "share few values" in note


def test_little_is_not_worth_a_sentence():
    # 216 of 4,824 weights.
    assert notes(net(conv=whole_numbers(-1, 1, (3, 3, 3, 8)))) == ()


def test_zeros_and_values_that_repeat():
    kernel = np.random.default_rng(0).normal(size=DENSE)
    (note,) = notes(net(dense=kernel * (np.abs(kernel) > 1)))
    assert "dense are mostly zeros and take 18.0 KiB as floats: storage 'sparse'" in note
    assert notes(net(dense=kernel * (np.abs(kernel) > 0.5))) == ()
    values = np.random.default_rng(1).normal(size=16)
    (note,) = notes(net(dense=values[np.random.default_rng(2).integers(0, 16, DENSE)]))
    assert "dense share few values and take 18.0 KiB as floats: python -m tfcompress.pack" in note


def test_many_layers_are_counted():
    image = x = keras.Input((32,))
    for number in range(5):
        x = layers.Dense(32, name=f"d{number}")(x)
    model = keras.Model(image, x)
    for layer in model.layers[1:]:
        layer.kernel.assign(whole_numbers(-1, 1, (32, 32)))
    (note,) = notes(model)
    assert note.startswith("the weights of d0, d1, d2 and 2 more need 2 bits each")


def test_the_storage_that_is_named_takes_the_bytes_that_are_named(tmp_path):
    """A layer of ours among Keras's own; its file of floats has the note, the other hasn't."""
    image = keras.Input((8,))
    x = layers.Dense(200, name="few")(layers.Dense(300)(image))
    model = tfcompress.transform(keras.Model(image, layers.Dense(4)(x)), "ternary")
    floats = tfcompress.export(model, tmp_path / "floats.tflite")
    (note,) = floats.notes
    assert "the weights of few need 2 bits each and take 234.4 KiB" in note
    assert f"  note: {note}" in str(floats)
    fewer = tfcompress.export(model, tmp_path / "few.tflite", storage="int2")
    assert fewer.notes == ()
    assert fewer.weight_bytes["int2"] == pytest.approx(234.4 * 1024 * 2 / 32, rel=1e-3)


def test_binary_inputs_have_kernels_of_bits(tmp_path):
    image = keras.Input((64,))
    model = randomise(keras.Model(image, BinaryDense(64, name="bits")(image)), 0)
    (note,) = tfcompress.export(model, tmp_path / "m.tflite").notes
    assert note.endswith("storage '1bit' writes them so, and 'xnor' multiplies by bits")


@pytest.mark.parametrize(
    ("technique", "options", "expected"),
    [
        ("hashed", {"hashing": "elementwise"}, ""),  # The file of floats has its buckets.
        ("pq", {}, "1 layers are blocks of a codebook"),
    ],
)
def test_after_a_technique(technique, options, expected, tmp_path):
    image = keras.Input((300,))
    x = layers.Dense(200, name="wide", activation="relu")(image)
    model = keras.Model(image, layers.Dense(4)(x))
    small = tfcompress.transform(model, technique, **options)
    notes = tfcompress.export(small, tmp_path / "m.tflite").notes
    assert bool(notes) == bool(expected)
    assert all(expected in note for note in notes)
