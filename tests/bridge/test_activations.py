import keras
import numpy as np
import pytest
from keras import layers

from tests.bridge import nets
from tfcompress.bridge import BridgeError, to_keras, to_tf_keras
from tfcompress.bridge.activations import RENAMED, SAME, TO_KERAS, TO_TF_KERAS
from tfcompress.bridge.legacy import tf_keras

# With the bends of all of them, and their surroundings.
GRID = np.sort(
    np.concatenate(
        [np.linspace(-12, 12, 2000), np.arange(-6, 6.5, 0.5), np.arange(-6, 6.5, 0.5) + 1e-4]
    )
).astype("float32")
GRID = GRID[: len(GRID) // 3 * 3].reshape(3, -1)
REFUSED = {"glu", "sparsemax", "squareplus", "threshold"}


def public():
    others = {"get", "serialize", "deserialize"}
    return {n for n in dir(keras.activations) if not n.startswith("_")} - others


def test_every_activation_of_keras_is_in_one_table():
    tables = [SAME, RENAMED, TO_TF_KERAS, REFUSED]
    assert public() == set().union(*tables)
    assert sum(map(len, tables)) == len(public())


@pytest.mark.parametrize("name", sorted(SAME))
def test_same_means_equal(name):
    theirs = tf_keras().layers.Activation(name)(GRID)
    ours = layers.Activation(name)(GRID)
    np.testing.assert_allclose(theirs, ours, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("name", sorted(RENAMED))
def test_renamed_means_equal(name):
    theirs = tf_keras().layers.Activation(RENAMED[name])(GRID)
    np.testing.assert_allclose(theirs, layers.Activation(name)(GRID), atol=2e-6)


@pytest.mark.parametrize("name", sorted(TO_TF_KERAS))
def test_stand_ins_are_equal(name):
    model = keras.Sequential([keras.Input(GRID.shape[1:]), layers.Activation(name, name="act")])
    copy = to_tf_keras(model)
    np.testing.assert_allclose(copy(GRID), model(GRID), atol=2e-6, rtol=2e-6)
    kinds = {type(layer).__name__ for layer in copy.layers}
    assert kinds <= {"InputLayer", "ReLU", "Rescaling", "Multiply", "Add", "Subtract", "Activation"}


def test_hard_sigmoid_is_another_function_in_tf_keras():
    """It differs in silence, so the name alone must never be converted."""
    theirs = tf_keras().activations.get("hard_sigmoid")(keras.ops.convert_to_tensor(GRID))
    gap = np.abs(theirs - keras.activations.hard_sigmoid(GRID)).max()
    assert 0.07 < gap < 0.1
    assert "hard_sigmoid" not in SAME


@pytest.mark.parametrize("name", sorted(TO_KERAS))
def test_stand_ins_of_the_way_back_are_equal(name):
    old = tf_keras()
    model = old.Sequential([old.layers.Input(GRID.shape[1:]), old.layers.Activation(name)])
    np.testing.assert_allclose(to_keras(model)(GRID), model(GRID), atol=2e-6)


@pytest.mark.parametrize("name", [*sorted(TO_TF_KERAS), "celu"])
def test_fused_activations_are_split_from_their_layer(name):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation=name, name="conv")(inputs)
    model = nets.randomise(keras.Model(inputs, layers.Dense(2, activation=name, name="out")(x)))
    copy = to_tf_keras(model)
    # celu with its default alpha is elu, which both have.
    left = "elu" if name == "celu" else "linear"
    assert copy.get_layer("conv").activation.__name__ == left
    assert nets.apart(model, copy, 3 * nets.draw(model)) < 1e-5


def test_a_layer_as_activation_is_split_off():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, activation=layers.LeakyReLU(0.3), name="dense")]
    )
    copy = to_tf_keras(model)
    assert [layer.name for layer in copy.layers][1:] == ["dense", "dense_leakyrelu"]
    assert nets.apart(model, copy, nets.draw(model)) < 1e-6


def test_a_shared_layers_stand_in_is_shared():
    inputs = keras.Input((6,))
    dense = layers.Dense(6, activation="hard_silu", name="dense")
    copy = to_tf_keras(keras.Model(inputs, dense(dense(inputs))))
    assert len(copy.layers) == 6  # Input, dense, three of hard_sigmoid, multiply.


@pytest.mark.parametrize("name", ["glu", "sparsemax", "squareplus"])
def test_what_has_no_stand_in_is_refused(name):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation=name, name="head")])
    with pytest.raises(BridgeError, match=rf"layer 'head' \(Dense\) has activation='{name}'"):
        to_tf_keras(model)


def test_a_function_of_the_users_own_is_refused():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation=lambda x: 2 * x)])
    with pytest.raises(BridgeError, match=r"has activation=<function.*take one of elu,"):
        to_tf_keras(model)


def test_inside_a_recurrence_nothing_can_be_split():
    model = keras.Sequential(
        [keras.Input((5, 3)), layers.LSTM(2, recurrent_activation="hard_tanh")]
    )
    with pytest.raises(BridgeError, match=r"\(LSTM\) has recurrent_activation='hard_tanh'"):
        to_tf_keras(model)
