import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict, save_and_load
from tfcompress.errors import InputError
from tfcompress.graph.channels import channel_groups, keep


@pytest.fixture(scope="module")
def residual():
    """Two convolutions whose sum is normalised, read by a dense layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3), name="image")
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="one")(inputs)
    y = layers.Conv2D(6, 1, name="two", dtype="mixed_float16", trainable=False)(x)
    x = layers.BatchNormalization(name="norm")(layers.Add(name="sum")([x, y]))
    return keras.Model(inputs, layers.Dense(2, name="logits")(layers.Flatten()(x)), name="residual")


def test_groups_name_what_makes_and_what_takes_them(residual):
    one, logits = channel_groups(residual)
    assert (one.name, one.size, one.frozen, one.fixed) == ("one", 6, None, frozenset())
    assert one.producers == ("one", "two")
    assert one.consumers == ("two", "logits")
    assert logits.producers == ("logits",)
    assert (logits.frozen, logits.fixed) == ("an output of the model", {0, 1})
    entries = {(part.layer, part.path, part.axis): part.channels for part in one.slices}
    np.testing.assert_array_equal(entries["norm", "gamma", 0], range(6))
    np.testing.assert_array_equal(entries["two", "kernel", 2], range(6))
    np.testing.assert_array_equal(entries["logits", "kernel", 0], np.tile(range(6), 16))


def test_partly_fixed_groups_say_which_channels():
    """The last three channels are the input's too."""
    inputs = keras.Input((4, 3))
    both = layers.Concatenate()([layers.Dense(5, name="new")(inputs), inputs])
    x = both * layers.Dense(8, "sigmoid", name="gate")(inputs)
    group = channel_groups(keras.Model(inputs, layers.Dense(2)(x)))[0]
    assert (group.name, group.size, group.frozen) == ("new", 8, None)
    assert group.fixed == {5, 6, 7}


def test_what_is_kept_is_as_it_was(residual, tmp_path):
    small = keep(residual, {"one": [0, 2, 5]})
    assert [layer.name for layer in small.layers] == [layer.name for layer in residual.layers]
    assert small.name == "residual"
    for name in ("one", "two", "norm"):
        old, new = residual.get_layer(name), small.get_layer(name)
        assert (new.trainable, new.dtype_policy.name) == (old.trainable, old.dtype_policy.name)
    assert small.get_layer("one").activation is keras.activations.relu
    kernel = np.asarray(residual.get_layer("one").kernel)
    np.testing.assert_array_equal(small.get_layer("one").kernel, kernel[..., [0, 2, 5]])
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    again = save_and_load(small, tmp_path)
    np.testing.assert_array_equal(predict(again, x), predict(small, x))


def test_all_kept_is_the_same_model_with_weights_of_its_own(residual):
    copy = keep(residual, {})
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(predict(copy, x), predict(residual, x))
    assert not {id(weight) for weight in copy.weights} & {id(weight) for weight in residual.weights}


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"one": []}, r"'one' has channels 0 to 5, one of which has to stay; got \[\]"),
        ({"one": [1, 6]}, r"'one' has channels 0 to 5.*got \[1, 6\]"),
        ({"logits": [1]}, r"channels \[0\] of group 'logits' have to stay: an output of the model"),
        ({"tow": [1]}, "unknown group of channels 'tow'"),
    ],
)
def test_what_cannot_be_kept(residual, kept, message):
    with pytest.raises(InputError, match=message):
        keep(residual, kept)


def test_no_tensor_loses_all_of_its_channels():
    inputs = keras.Input((4, 3))
    x = layers.Dense(6, name="new")(inputs)
    x = layers.Concatenate()([layers.Dense(2)(x[..., :2]), x[..., 2:]])
    model = keras.Model(inputs, layers.Dense(2)(x))
    with pytest.raises(InputError, match=r"GetItem '.*' would give a tensor without channels"):
        keep(model, {"new": [2, 3]})


def test_a_model_without_a_graph_is_refused():
    with pytest.raises(InputError, match="expected a Keras model; got Dense"):
        channel_groups(layers.Dense(1))
