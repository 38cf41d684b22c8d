import keras
import numpy as np
import pytest
from keras import layers

from tests.bridge import nets
from tfcompress.bridge import BridgeError, copy_back, to_keras, to_tf_keras
from tfcompress.bridge.legacy import tf_keras
from tfcompress.layers import CPConv2D

OLD = tf_keras()


def randomised(model):
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.6, w.shape) for w in model.get_weights()])
    return model


def same(old, new, shape):
    x = np.random.default_rng(1).standard_normal((3, *shape)).astype("float32")
    np.testing.assert_allclose(new(x), old(x), atol=1e-5)


def test_nested_and_shared_layers():
    block = OLD.Sequential([OLD.layers.Input((6,)), OLD.layers.Dense(6, name="d")], name="block")
    inputs = OLD.layers.Input((6,))
    model = randomised(OLD.Model(inputs, OLD.layers.Dense(2, name="d")(block(block(inputs)))))
    new = to_keras(model)
    assert [layer.name for layer in new.layers][1:] == ["d", "d_1"]
    same(model, new, (6,))


def test_operations_on_tensors_become_layers():
    inputs = OLD.layers.Input((6,))
    import tensorflow as tf

    x = tf.nn.relu6(2.0 * (inputs + 3.0) - inputs) * (1 / 6)
    model = OLD.Model(inputs, OLD.layers.Dense(2)(tf.abs(x)))
    new = to_keras(model)
    assert all(isinstance(layer, keras.layers.Layer) for layer in new.layers)
    same(model, new, (6,))


def test_the_old_hard_sigmoid_keeps_its_meaning():
    model = randomised(
        OLD.Sequential([OLD.layers.Input((6,)), OLD.layers.Dense(4, activation="hard_sigmoid")])
    )
    same(model, to_keras(model), (6,))


def test_layers_that_only_keras_2_has():
    model = OLD.Sequential([OLD.layers.Input((6,)), OLD.layers.ThresholdedReLU(0.4)])
    same(model, to_keras(model), (6,))
    model = OLD.Sequential([OLD.layers.Input((6, 2)), OLD.layers.LocallyConnected1D(2, 3)])
    with pytest.raises(BridgeError, match=r"\(LocallyConnected1D\) has no equal in keras"):
        to_keras(model)


def test_dictionaries_of_inputs():
    inputs = {"b": OLD.layers.Input((4,), name="b"), "a": OLD.layers.Input((3,), name="a")}
    outputs = {"out": OLD.layers.Concatenate()([inputs["a"], OLD.layers.Dense(2)(inputs["b"])])}
    model = OLD.Model(inputs, outputs)
    x = {"a": np.ones((2, 3), "float32"), "b": np.full((2, 4), 2, "float32")}
    np.testing.assert_allclose(to_keras(model)(x)["out"], model(x)["out"], atol=1e-6)


@pytest.mark.slow
def test_an_old_application():
    model = OLD.applications.MobileNetV3Small(weights=None, input_shape=(64, 64, 3), classes=5)
    same(model, to_keras(model), (64, 64, 3))


def test_refusals():
    inputs = OLD.layers.Input((6,))
    import tensorflow as tf

    with pytest.raises(BridgeError, match=r"calls TensorFlow's math.cumsum: only __operators__"):
        to_keras(OLD.Model(inputs, tf.cumsum(inputs)))
    with pytest.raises(BridgeError, match=r"'drop' \(Dropout\) is called with training=True"):
        to_keras(OLD.Model(inputs, OLD.layers.Dropout(0.5, name="drop")(inputs, training=True)))
    with pytest.raises(BridgeError, match="expected a model of tf_keras; got keras"):
        to_keras(keras.Sequential([keras.Input((3,))]))
    with pytest.raises(BridgeError, match="is subclassed or was never built"):
        to_keras(OLD.Sequential([OLD.layers.Dense(2)]))


def net():
    inputs = keras.Input((8, 8, 3), name="some image")
    x = layers.Conv2D(4, 3, activation="hard_silu", name="_conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = CPConv2D(4, 3, rank=2, name="cp")(x)
    x = layers.Bidirectional(layers.LSTM(3), name="both")(layers.Reshape((-1, 8))(x))
    return keras.Model(inputs, layers.Dense(2, name="head")(x), name="net")


def test_trained_weights_come_back():
    keras.utils.set_random_seed(0)
    like = net()
    copy = to_tf_keras(like)
    x = nets.draw(like)
    copy.compile("sgd", "mse")
    copy.fit(x, np.ones((3, 2)), epochs=3, verbose=0)
    back = copy_back(copy, like)
    assert nets.apart(copy, back, x) < 1e-5
    assert nets.apart(like, back, x) > 1e-3
    assert [layer.name for layer in back.layers if layer.name.startswith("cp")] == [
        "cp_in",
        "cp_vertical",
        "cp_horizontal",
        "cp",
    ]
    # As a Keras 3 model it can be saved, cloned and trained.
    back.compile("sgd", "mse")
    back.fit(x, np.ones((3, 2)), verbose=0)


def test_copying_back_leaves_the_pattern_alone():
    like = net()
    before = like.get_weights()
    copy = to_tf_keras(like)
    copy.set_weights([w + 0.1 for w in copy.get_weights()])
    copy_back(copy, like)
    for old, new in zip(before, like.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_copying_back_from_another_model_is_refused():
    copy = to_tf_keras(net())
    other = keras.Sequential([keras.Input((8,)), layers.Dense(2, name="elsewhere")])
    with pytest.raises(
        BridgeError, match=r"'elsewhere' \(Dense\) isn't in the tf_keras model 'net'"
    ):
        copy_back(copy, other)
    other = keras.Sequential([keras.Input((8,)), layers.Dense(2, name="head")])
    with pytest.raises(BridgeError, match=r"\(Dense\) has weights of shapes .*must agree"):
        copy_back(copy, other)


def test_partly_frozen_recurrent_layers_keep_their_order():
    """tf_keras lists trainable weights before frozen ones, Keras 3 doesn't."""
    cells = [layers.LSTMCell(3), layers.LSTMCell(3)]
    cells[0].trainable = False
    model = nets.randomise(keras.Sequential([keras.Input((4, 3)), layers.RNN(cells)]))
    copy = to_tf_keras(model)
    assert nets.apart(model, copy_back(copy, model), nets.draw(model)) < 1e-6
    assert nets.apart(model, to_keras(copy), nets.draw(model)) < 1e-6
