"""Channels of embeddings, recurrent layers and attention: as the whole model with zeros by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict, save_and_load
from tests.techniques.conftest import randomise
from tfcompress.graph.channels import channel_groups, keep

DEAD = [1, 4]
WORDS = np.random.default_rng(0).integers(1, 20, (5, 7))


def model_of(*parts):
    """Returns a net of words: an embedding of 6 channels, some layers, and a classifier."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((7,), dtype="int32")
    for part in (layers.Embedding(20, 6, name="words"), *parts):
        x = part(x)
    model = keras.Model(inputs, layers.Dense(3, name="classes")(x))
    randomise(model, 0)
    return model


def without(size):
    return [channel for channel in range(size) if channel not in DEAD]


def zeroed(model, *places):
    """Sets the dead entries of weights to 0: a weight, an axis, and which if not `DEAD`."""
    for weight, axis, *entries in places:
        array = np.array(weight)
        np.moveaxis(array, axis, 0)[entries[0] if entries else DEAD] = 0
        weight.assign(array)
    return predict(model, WORDS)


def check(model, group, size, *places):
    """Compares the smaller model, saved and loaded, with the whole one with zeros."""
    before = predict(model, WORDS)
    small = keep(model, {group: without(size)})
    assert small.count_params() < model.count_params()
    expected = zeroed(model, *places)
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(predict(small, WORDS), expected, atol=1e-5)
    return small


def test_channels_of_an_embedding():
    model = model_of(layers.Conv1D(4, 3, name="conv"), layers.GlobalAveragePooling1D())
    small = check(model, "words", 6, (model.get_layer("words").embeddings, 1))
    assert small.get_layer("words").output_dim == 4


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.GRU, layers.LSTM])
def test_units_of_recurrent_layers(kind, tmp_path):
    """A unit that is gone gives nothing to the other units, nor to the layer behind."""
    model = model_of(kind(6, name="loop", return_sequences=True), kind(5, name="next"))
    loop, behind = model.get_layer("loop"), model.get_layer("next")
    small = check(model, "loop", 6, (loop.cell.recurrent_kernel, 0), (behind.cell.kernel, 0))
    small = save_and_load(small, tmp_path)
    assert (small.get_layer("loop").units, small.get_layer("next").units) == (4, 5)
    check(model, "words", 6, (model.get_layer("words").embeddings, 1))


@pytest.mark.parametrize("merge_mode", ["concat", "sum"])
def test_units_of_both_directions(merge_mode, tmp_path):
    inner = layers.GRU(6, name="gru")
    model = model_of(layers.Bidirectional(inner, merge_mode=merge_mode, name="both"))
    both, classes = model.get_layer("both"), model.get_layer("classes")
    loops = both.forward_layer, both.backward_layer
    rows = DEAD if merge_mode == "sum" else [*DEAD, *(6 + unit for unit in DEAD)]
    places = [(loop.cell.recurrent_kernel, 0, DEAD) for loop in loops]
    small = check(model, "both:forward units", 6, *places, (classes.kernel, 0, rows))
    again = save_and_load(small, tmp_path).get_layer("both")
    assert (again.forward_layer.units, again.backward_layer.units) == (4, 4)
    check(model, "words", 6, (model.get_layer("words").embeddings, 1))


def test_heads_and_channels_of_attention(tmp_path):
    """Where no normalisation of all channels is in between, both can go."""

    def attend(x):
        y = layers.MultiHeadAttention(6, 3, name="attention")(x, x)
        return layers.GlobalAveragePooling1D()(x + y)

    model = model_of(attend)
    attention, words = model.get_layer("attention"), model.get_layer("words")
    output = attention._output_dense
    names = [group.name for group in channel_groups(model)]
    assert names == ["words", "attention:heads", "classes"]
    small = check(model, "attention:heads", 6, (output.kernel, 0))
    small = save_and_load(small, tmp_path)
    assert small.get_layer("attention").num_heads == 4
    # Added to one another, the embedding's channels and those of attention are tied.
    places = [(words.embeddings, 1), (output.kernel, 2), (output.bias, 0)]
    small = check(model, "words", 6, *places)
    assert save_and_load(small, tmp_path).get_layer("attention")._output_dense.bias.shape == (4,)


def test_einsum_dense(tmp_path):
    wide = layers.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d", name="wide")
    model = model_of(wide, layers.GlobalAveragePooling1D())
    small = check(model, "wide", 6, (wide.kernel, 1), (wide.bias, 0))
    assert save_and_load(small, tmp_path).get_layer("wide").kernel.shape == (6, 4)
    check(model, "words", 6, (model.get_layer("words").embeddings, 1))


def test_what_has_no_rule_stays_and_says_why():
    inputs = keras.Input((7, 6))
    x = layers.Dense(6, name="first")(inputs)
    x = layers.EinsumDense("abc,cb->abc", (7, 6), name="scale")(x)
    x = layers.LSTM(4, activation="softmax", name="loop")(x)
    groups = channel_groups(keras.Model(inputs, layers.Dense(2)(x)))
    assert groups[0].frozen.startswith("EinsumDense 'scale': its equation abc,cb->abc")
