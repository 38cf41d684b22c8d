import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.bridge import nets
from tfcompress.bridge import BridgeError, to_keras, to_tf_keras
from tfcompress.bridge.legacy import tf_keras
from tfcompress.errors import InputError


def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x) + inputs
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def shared():
    inputs = keras.Input((6,))
    dense = layers.Dense(6, activation="tanh")
    return keras.Model(inputs, dense(dense(inputs)))


def nested():
    inner_inputs = keras.Input((6,))
    inner = keras.Model(inner_inputs, layers.Dense(5, name="deep")(inner_inputs))
    middle_inputs = keras.Input((6,))
    middle = keras.Model(middle_inputs, layers.Dense(6, name="deep")(inner(middle_inputs)))
    return keras.Sequential([keras.Input((6,)), middle, layers.Dense(3, name="deep")])


def nested_and_shared():
    inputs = keras.Input((6,))
    block = keras.Sequential([keras.Input((6,)), layers.Dense(6), layers.BatchNormalization()])
    return keras.Model(inputs, layers.Dense(2)(block(block(inputs))))


def many():
    first, second = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="facts")
    x = layers.Flatten()(layers.Conv2D(2, 3)(first))
    y = layers.Dense(5)(second)
    return keras.Model([first, second], [layers.Concatenate()([x, y]), y])


def dictionaries():
    # In an order that isn't that of their names.
    inputs = {"b": keras.Input((7,), name="b"), "a": keras.Input((3,), name="a")}
    outputs = {"z": layers.Dense(2)(inputs["a"]), "y": layers.Dense(2)(inputs["b"])}
    return keras.Model(inputs, outputs)


def odd_names():
    inputs = keras.Input((4,), name="my input")
    x = layers.Dense(3, name="a_b")(inputs)
    return keras.Model(inputs, layers.Dense(3, name="a b")(x), name="a model")


def states():
    inputs = keras.Input((4, 5))
    out, h, c = layers.LSTM(3, return_state=True, return_sequences=True)(inputs)
    return keras.Model(inputs, [layers.LSTM(3)(inputs, initial_state=[h, c]), out])


def adapted():
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)))
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(norm(inputs)))


def fixed_batch():
    inputs = keras.Input(batch_shape=(3, 6))
    return keras.Model(inputs, layers.Dense(2)(inputs))


def words():
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(inputs)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    return keras.Model(inputs, [layers.GRU(3)(y), layers.GlobalAveragePooling1D()(y)])


def attention_with_masks():
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(inputs)
    y = layers.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(inputs, layers.LSTM(3)(layers.Concatenate()([y, x])))


def given_mask():
    inputs, mask = keras.Input((7, 2)), keras.Input((7,), dtype="bool")
    return keras.Model([inputs, mask], layers.LSTM(3)(inputs, mask=mask))


def open_sizes():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 5, strides=2)(inputs)
    for _ in range(3):
        x = layers.Conv2D(4, 3, strides=2)(x)  # More than 16 pixels have room for.
    return keras.Model(inputs, layers.GlobalMaxPooling2D()(x))


def bytes_in():
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    return keras.Model(inputs, layers.Flatten()(layers.Rescaling(1 / 255)(inputs)))


MODELS = [
    *(residual, shared, nested, nested_and_shared, many, dictionaries, odd_names, states),
    *(adapted, fixed_batch, words, attention_with_masks, given_mask, open_sizes, bytes_in),
]


@pytest.mark.parametrize("make", MODELS)
def test_there_and_back(make):
    keras.utils.set_random_seed(0)
    model = make()
    nets.randomise(model)
    copy = to_tf_keras(model)
    back = to_keras(copy)
    assert isinstance(copy, tf_keras().Model)
    assert back.count_params() == copy.count_params()
    if make is not open_sizes:
        x = nets.draw(model)
        assert nets.apart(model, copy, x) < 1e-5
        if make is not odd_names:
            assert nets.apart(model, back, x) < 1e-5


def test_shared_layers_are_shared():
    assert len(to_tf_keras(shared()).layers) == 2


def test_names_stay_and_nested_models_are_flat():
    assert [layer.name for layer in to_tf_keras(nested()).layers][1:] == [
        "deep",
        "deep_1",
        "deep_2",
    ]


def test_names_that_tensorflow_refuses_are_replaced():
    copy = to_tf_keras(odd_names())
    assert [layer.name for layer in copy.layers] == ["my_input", "a_b", "a_b_1"]
    assert copy.name == "a_model"


def test_the_copy_has_weights_of_its_own():
    model = shared()
    before = model.get_weights()
    copy = to_tf_keras(model)
    copy.set_weights([0 * w for w in copy.get_weights()])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_model_isnt_changed():
    model = nested()
    nodes = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    to_tf_keras(model)
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == nodes


def test_frozen_layers_stay_frozen():
    model = residual()
    model.layers[1].trainable = False
    copy = to_tf_keras(model)
    for layer in model.layers[1:]:
        assert copy.get_layer(layer.name).trainable == layer.trainable


def test_a_difference_names_its_first_layer():
    inputs = keras.Input((6,))
    x = layers.Dense(6, name="first")(inputs)
    x = layers.Dense(6, name="wrong")(x)
    model = nets.randomise(keras.Model(inputs, layers.Dense(6, name="last")(x), name="net"))
    with pytest.raises(
        BridgeError, match=r"tf_keras copy of 'net' differs .* first at layer 'wrong' \(Dense\) by"
    ):
        to_tf_keras(model, replace={"wrong": lambda x: x * 1.5})


def test_masks_of_operations_differ_and_are_found():
    """`x + y` passes no mask on in Keras 3, tf_keras's Add layer does."""
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(inputs)
    y = layers.Concatenate()([layers.Dense(4)(x) + x, x])
    model = nets.randomise(keras.Model(inputs, layers.LSTM(3, name="reader")(y)))
    with pytest.raises(BridgeError, match=r"first at layer 'reader' \(LSTM\)"):
        to_tf_keras(model)


def test_the_tolerance_counts():
    model = nets.randomise(residual())
    with pytest.raises(BridgeError, match="allowed: -1"):
        to_tf_keras(model, tolerance=-1)


def test_outputs_that_arent_numbers_are_refused():
    model = shared()
    model.set_weights([w * np.nan for w in model.get_weights()])
    with pytest.raises(BridgeError, match="aren't all finite"):
        to_tf_keras(model)


def dense(**settings):
    return keras.Sequential([keras.Input((6,)), layers.Dense(4, name="head", **settings)])


class Mine(layers.Layer):
    def call(self, x):
        return x

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("tests")
class MyRegularizer(keras.regularizers.Regularizer):
    def __call__(self, x):
        return 0.0

    def get_config(self):
        return {}


def with_layer(layer, shape=(8, 8, 3)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def lora():
    model = dense()
    model.layers[0].enable_lora(2)
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_layer(Mine(name="own")), r"'own' \(Mine\) isn't a built-in layer"),
        (lambda: with_layer(layers.RandomCrop(4, 4)), r"\(RandomCrop\) has no equal in tf_keras"),
        (lambda: with_layer(layers.AdaptiveMaxPooling2D(2)), r"\(AdaptiveMaxPooling2D\) has no"),
        (lambda: with_layer(layers.Lambda(lambda x: x)), r"\(Lambda\) has no equal"),
        (
            lambda: with_layer(layers.Resizing(4, 4, antialias=True)),
            r"\(Resizing\) has antialias=True, which tf_keras doesn't know: only antialias=False",
        ),
        (
            lambda: with_layer(layers.Resizing(4, 6, pad_to_aspect_ratio=True)),
            r"has pad_to_aspect_ratio=True",
        ),
        (lambda: with_layer(layers.BatchNormalization(renorm=True)), r"has renorm=True"),
        (lambda: with_layer(layers.RandomContrast(0.1, value_range=(0, 1))), r"has value_range="),
        (lambda: dense(dtype="mixed_float16"), r"'head' \(Dense\) has dtype='mixed_float16'"),
        (lambda: dense(dtype="float16"), r"has dtype='float16'"),
        (lambda: dense(kernel_regularizer=MyRegularizer()), r"has kernel_regularizer='MyRegular"),
        (
            lambda: dense(kernel_constraint=None, kernel_regularizer="orthogonal_regularizer"),
            "Ortho",
        ),
        (lora, r"'head' \(Dense\) has lora_rank=2"),
        (
            lambda: with_layer(layers.TimeDistributed(Mine(name="own"))),
            r"\(TimeDistributed\) can't be converted, for its layer 'own' \(Mine\)",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input(batch_shape=(2, 4, 3)), layers.LSTM(2, stateful=True)]
            ),
            r"\(LSTM\) has stateful=True",
        ),
    ],
)
def test_refusals_name_layer_class_key_and_value(make, message):
    with pytest.raises(BridgeError, match=message):
        to_tf_keras(make())


def test_a_mask_that_the_graph_computes_is_refused():
    inputs = keras.Input((7, 2))
    mask = ops.any(ops.not_equal(inputs, 0.0), axis=-1)
    with pytest.raises(
        BridgeError, match=r"'lstm.*' \(LSTM\) is given mask= that the graph computes"
    ):
        to_tf_keras(keras.Model(inputs, layers.LSTM(3)(inputs, mask=mask)))


def test_inputs_of_strings_are_refused():
    inputs = keras.Input((), dtype="string", name="text")
    with pytest.raises(BridgeError, match="input 'text' takes strings"):
        to_tf_keras(keras.Model(inputs, layers.Identity()(inputs)))


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(InputError, match="is subclassed and has no graph"):
        to_tf_keras(Subclassed())


def test_what_a_layer_was_told_about_training_is_as_little_worth_as_in_keras_3():
    inputs = keras.Input((6,))
    x = layers.Dropout(0.5)(inputs, training=True)
    x = layers.BatchNormalization()(x, training=True)
    model = nets.randomise(keras.Model(inputs, x))
    x = nets.draw(model)
    np.testing.assert_allclose(model.predict(x, verbose=0), to_tf_keras(model)(x), atol=1e-6)
