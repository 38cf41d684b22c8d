import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict
from tests.techniques.conftest import randomise
from tfcompress.graph import clone, macs, parameters, rewrite
from tfcompress.graph.equivalents import RULES, SEPARABLE, restored, with_equivalents


def chain(shape, *parts, dtype="float32"):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = type(part).from_config({**part.get_config(), "dtype": dtype})(x)
    return clone(randomise(keras.Model(inputs, x)))


def batch(model, seed=0):
    shape = [size or 9 for size in model.inputs[0].shape[1:]]
    return np.random.default_rng(seed).normal(size=(3, *shape)).astype("float32")


IMAGE, STEPS = (9, 8, 3), (12, 6)
CASES = {
    "strides": (IMAGE, layers.SeparableConv2D(5, 3, strides=2, padding="same", name="x")),
    "dilation": (IMAGE, layers.SeparableConv2D(5, 3, dilation_rate=2, use_bias=False, name="x")),
    "multiplier": (
        IMAGE,
        layers.SeparableConv2D(
            4,
            (3, 2),
            depth_multiplier=2,
            activation="gelu",
            depthwise_regularizer="l2",
            pointwise_constraint="max_norm",
            name="x",
        ),
    ),
    "channels_first": ((3, 9, 8), layers.SeparableConv2D(4, 1, data_format="channels_first")),
    "separable_1d": (
        STEPS,
        layers.SeparableConv1D(
            5, 3, strides=2, padding="same", depth_multiplier=2, activation="tanh", name="x"
        ),
    ),
    "conv_1d": (STEPS, layers.Conv1D(5, 3, strides=2, activation="relu", name="x")),
    "causal": (STEPS, layers.Conv1D(4, 3, padding="causal", dilation_rate=2, name="x")),
    "groups": (STEPS, layers.Conv1D(4, 3, groups=2, padding="same", use_bias=False, name="x")),
    "any_length": ((None, 6), layers.Conv1D(4, 3, name="x")),
    "depthwise_1d": (STEPS, layers.DepthwiseConv1D(3, depth_multiplier=2, name="x")),
    "dense": (
        STEPS,
        layers.EinsumDense("abc,cd->abd", (None, 5), "relu", bias_axes="d", name="x"),
    ),
    "dots": (STEPS, layers.EinsumDense("...x,xy->...y", 5, activation="softmax", name="x")),
    "to_heads": (
        (None, 6),
        layers.EinsumDense("abc,cde->abde", (None, 2, 5), bias_axes="de", name="x"),
    ),
    "from_heads": (
        (7, 2, 5),
        layers.EinsumDense("abcd,cde->abe", (None, 3), bias_axes="e", name="x"),
    ),
}
each = pytest.mark.parametrize("case", CASES)


@each
def test_the_same_function_there_and_back(case):
    shape, layer = CASES[case]
    model = chain(shape, layer)
    (name,) = (layer.name for layer in model.layers[1:])
    written, equivalents = with_equivalents(model)
    parts = equivalents[name].parts
    assert name in parts
    assert [layer.name for layer in written.layers[1:]] == [*parts]
    assert not {type(layer).__name__ for layer in written.layers} & RULES.keys()
    if case == "channels_first":  # TensorFlow computes it on GPUs alone.
        assert all(written.get_layer(part).data_format == "channels_first" for part in parts)
    else:
        expected = predict(model, batch(model))
        np.testing.assert_allclose(predict(written, batch(model)), expected, atol=1e-6)
        back, names = restored(written, equivalents)
        assert names == {name}
        assert back.get_layer(name).get_config() == model.get_layer(name).get_config()
        np.testing.assert_array_equal(predict(back, batch(model)), expected)
    assert (macs(written), parameters(written)) == (macs(model), parameters(model))


@pytest.mark.parametrize("case", ["multiplier", "conv_1d", "to_heads"])
def test_mixed_precision(case):
    shape, layer = CASES[case]
    model = chain(shape, layer, dtype="mixed_float16")
    written, _ = with_equivalents(model)
    assert all(each.compute_dtype == "float16" for each in written.layers[1:])
    np.testing.assert_allclose(
        predict(written, batch(model)), predict(model, batch(model)), atol=5e-3
    )


def test_settings_of_training_come_with_the_parts():
    shape, layer = CASES["multiplier"]
    model = chain(shape, layer)
    model.get_layer("x").trainable = False
    written, equivalents = with_equivalents(model)
    assert equivalents["x"].parts == ("x_depthwise", "x")
    depth, point = written.get_layer("x_depthwise"), written.get_layer("x")
    assert isinstance(depth.depthwise_regularizer, keras.regularizers.L2)
    assert isinstance(point.kernel_constraint, keras.constraints.MaxNorm)
    assert point.activation is keras.activations.gelu
    assert not depth.use_bias
    assert not written.trainable_variables


def test_a_constraint_is_of_the_same_weights():
    constraint = keras.constraints.MaxNorm(0.1, axis=[0, 1])
    model = chain(STEPS, layers.Conv1D(4, 3, kernel_constraint=constraint, name="x"))
    written, _ = with_equivalents(model)
    kernel = model.get_layer("x").kernel
    expected = np.asarray(constraint(kernel))
    assert not np.allclose(expected, kernel)
    moved = written.get_layer("x").kernel_constraint
    np.testing.assert_allclose(moved(written.get_layer("x").kernel)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((5, 6), layers.EinsumDense("abc,bcd->abd", (5, 3))),  # A kernel for each of five.
        ((5, 6), layers.EinsumDense("abc,cd->adb", (3, 5))),
        ((5, 6), layers.EinsumDense("abc,cde->abde", (5, 2, 3), "softmax")),
        ((5, 6), layers.EinsumDense("abc,cde->abde", (5, 2, 3), bias_axes="e")),
    ],
)
def test_what_has_no_equivalent_stays(shape, layer):
    model = chain(shape, layer)
    written, equivalents = with_equivalents(model)
    assert written is model
    assert not equivalents


def test_a_shared_layer_is_written_once():
    layer = layers.SeparableConv2D(3, 3, padding="same", name="shared")
    inputs = keras.Input((8, 8, 3))
    model = clone(keras.Model(inputs, layer(layers.ReLU()(layer(inputs)))))
    written, equivalents = with_equivalents(model)
    assert len(written.weights) == len(model.weights)
    expected = predict(model, batch(model))
    np.testing.assert_allclose(predict(written, batch(model)), expected, atol=1e-6)
    back, _ = restored(written, equivalents)
    assert len(back.weights) == len(model.weights)
    np.testing.assert_array_equal(predict(back, batch(model)), expected)


def test_only_layers_that_nothing_happened_to_come_back():
    model = chain(STEPS, layers.Conv1D(4, 3, name="one"), layers.Conv1D(4, 3, name="two"))
    written, equivalents = with_equivalents(model)
    other = layers.Conv2D(4, (1, 3), name="one")
    changed = rewrite(written, {"one": lambda x: layers.ReLU(name="behind")(other(x))})
    back, names = restored(clone(changed), equivalents)
    assert names == {"two"}
    assert [layer.name for layer in back.layers[1:]] == [
        "one_in",
        "one",
        "behind",
        "one_out",
        "two",
    ]


def test_kinds_can_be_chosen():
    model = chain(STEPS, layers.Conv1D(4, 3, name="one"), layers.SeparableConv1D(4, 3, name="two"))
    _, equivalents = with_equivalents(model, SEPARABLE)
    assert [*equivalents] == ["two"]
