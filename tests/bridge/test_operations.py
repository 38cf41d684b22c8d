import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.bridge import nets
from tfcompress.bridge import BridgeError, copy_back, to_keras, to_tf_keras

COLUMN = np.arange(6, dtype="float32")

CONVERTIBLE = {
    "add": lambda x: x + 1.5,
    "add_to": lambda x: 1.5 + x,
    "add_columns": lambda x: x + COLUMN,
    "add_rows": lambda x: x + np.ones((5, 1), "float32"),
    "subtract": lambda x: x - COLUMN,
    "subtract_from": lambda x: 2 - x,
    "multiply": lambda x: x * COLUMN * 2,
    "divide": lambda x: x / 4,
    "negative": lambda x: -x,
    "absolute": lambda x: abs(x),
    "power": lambda x: x**2,
    "square": ops.square,
    "clip": lambda x: ops.clip(x, -0.5, 0.7),
    "maximum": lambda x: ops.maximum(x, 0.3),
    "maximum_0": lambda x: ops.maximum(0, x),
    "minimum": lambda x: ops.minimum(x, -0.2),
    "relu": ops.relu,
    "relu6": lambda x: ops.relu6(9 * x),
    "relu_of_activations": lambda x: keras.activations.relu(x, max_value=1, negative_slope=0.1),
    "gelu": lambda x: ops.gelu(x, approximate=False),
    "leaky_relu": lambda x: ops.leaky_relu(x, 0.3),
    "elu": lambda x: ops.elu(x, 0.7),
    "softmax": lambda x: ops.softmax(x, axis=1),
    "hard_silu": lambda x: ops.hard_silu(4 * x),
    "hard_sigmoid": lambda x: ops.hard_sigmoid(4 * x),
    "tanh": ops.tanh,
    "reshape": lambda x: ops.reshape(x, (-1, 10, 12)),
    "transpose": lambda x: ops.transpose(x, (0, 3, 1, 2)),
    "expand_dims": lambda x: ops.expand_dims(x, 2),
    "squeeze": lambda x: ops.squeeze(ops.expand_dims(x, -1), -1),
    "concatenate": lambda x: ops.concatenate([x, -x], axis=-1),
    "mean": lambda x: ops.mean(x, axis=(1, 2)),
    "max": lambda x: ops.max(x, axis=(-3, -2), keepdims=True),
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))),
    "twice": lambda x: x * x + x,
    "merges": lambda x: ops.maximum(x, 2 * x) - ops.minimum(x, x * x),
    "rows": lambda x: ops.reshape(layers.Dense(3)(ops.reshape(x, (-1, 6))) + 1.0, (-1, 60)),
}


def model_of(function, shape=(4, 5, 6)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs))


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_operations_become_stock_layers(name):
    model = model_of(CONVERTIBLE[name])
    copy = to_tf_keras(model)
    x = nets.draw(model)
    assert nets.apart(model, copy, x) < 1e-5
    assert not [layer for layer in copy.layers if "Lambda" in type(layer).__name__]
    assert nets.apart(model, to_keras(copy), x) < 1e-5
    assert nets.apart(model, copy_back(copy, model), x) < 1e-5


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: ops.take(x, [0, 2], axis=-1), r"'take\w*' \(Take\)"),
        (lambda x: x[..., :2], r"\(GetItem\)"),
        (lambda x: ops.where(x > 0, x, 0.0), r"\(Greater\)"),
        (lambda x: x**3, r"\(Power with the exponent 3.0\)"),
        (lambda x: x / (x * x + 1), r"\(\w*Divide of two tensors\)"),
        (lambda x: 1 / x, r"\(\w*Divide of a constant and a tensor\)"),
        (lambda x: x + np.ones((2, 4, 5, 6), "float32"), "constant of shape .2, 4, 5, 6."),
        (lambda x: x + ops.mean(x, axis=(1, 2)), "different numbers of axes"),
        (lambda x: ops.mean(x, axis=-1), "over the axes .-1.; only all but"),
        (lambda x: ops.reshape(x, (-1, 7)), "mixes values of several examples"),
        (lambda x: ops.transpose(x), "moves the batch"),
        (lambda x: ops.gelu(x), "approximate=True; only False"),
        (lambda x: ops.pad(x, 1), "of the batch or the last axis"),
        (lambda x: ops.flip(x, axis=1), r"\(Flip\)"),
    ],
)
def test_others_are_refused_by_name(function, what):
    with pytest.raises(BridgeError, match=rf"{what}.* no built-in layer .* replace="):
        to_tf_keras(model_of(function))


def test_an_output_with_another_number_of_examples_is_refused():
    with pytest.raises(BridgeError, match="another number of examples"):
        to_tf_keras(model_of(lambda x: ops.reshape(x, (-1, 6))))


def test_only_dense_layers_take_reshapes_across_the_batch():
    model = model_of(lambda x: layers.LSTM(2)(ops.reshape(x, (-1, 5, 6))))
    with pytest.raises(BridgeError, match=r"\(LSTM\) comes behind a reshape across the batch"):
        to_tf_keras(model)


def test_whole_numbers_with_constants_are_refused():
    inputs = keras.Input((4,), dtype="int32")
    with pytest.raises(BridgeError, match="of whole numbers with constants"):
        to_tf_keras(keras.Model(inputs, inputs + 1))


def test_a_function_may_stand_in_for_an_operation():
    model = model_of(lambda x: ops.take(x, [0, 2], axis=-1))
    name = model.operations[-1].name
    import tensorflow as tf

    copy = to_tf_keras(model, replace={name: lambda x, *_, **__: tf.gather(x, [0, 2], axis=-1)})
    assert nets.apart(model, copy, nets.draw(model)) == 0


def test_a_replaced_name_must_exist():
    with pytest.raises(BridgeError, match="replace names 'nobody'"):
        to_tf_keras(model_of(ops.relu), replace={"nobody": lambda x: x})
