"""The QAT-ready pass: the same function, in layers with integer ops, and a name for all others."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.checks import predict
from tests.qat.nets import NETS, SIZE, images_for, net
from tfcompress.bridge import BridgeError
from tfcompress.graph.rewrite import operations
from tfcompress.qat.layout import layout
from tfcompress.qat.prepare import prepare, unsupported
from tfcompress.qat.rules import RULES

PRODUCTS = ("Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D")


def kinds(model):
    return [type(operation).__name__ for operation in operations(model)]


@pytest.mark.parametrize("name", NETS)
def test_the_same_function_without_what_stays_float(name):
    model = net(name)
    x = images_for(model, 8)
    expected = predict(model, x)
    made, changes = prepare(model)
    np.testing.assert_allclose(predict(made, x), expected, atol=1e-4 * np.abs(expected).max())
    assert not unsupported(made)
    assert all(
        change.name and change.kind and change.action and change.reason for change in changes
    )
    for layer in operations(made):
        kind = type(layer).__name__
        assert not kind.startswith(("Separable", "Conv1D", "DepthwiseConv1D", "Rescaling"))
        if kind in PRODUCTS:
            assert layer.activation is keras.activations.linear
    assert not {id(w) for w in made.weights} & {id(w) for w in model.weights}


def test_dense_and_transposed_convolutions_take_batch_normalisation_in():
    for name in ("dense_bn", "transposed_bn"):
        made, changes = prepare(net(name))
        assert "BatchNormalization" not in kinds(made)
        assert "folded" in {change.action for change in changes}


def test_convolutions_keep_batch_normalisation_for_the_training():
    made, changes = prepare(net("conv_bn"))
    assert kinds(made).count("BatchNormalization") == 3
    assert changes == []


def test_batch_normalisation_behind_no_convolution():
    made, changes = prepare(net("lone_bn"))
    assert "BatchNormalization" not in kinds(made)
    assert made.get_layer("bn_sum").kernel_size == (1, 1)
    assert [change.name for change in changes] == ["bn_image", "bn_sum", "bn_features"]


def test_a_convolution_that_others_use_too_isnt_folded_into():
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    both = layers.Add()([layers.BatchNormalization(name="bn")(x), x])
    model = keras.Model(image, layers.Flatten()(both))
    made, changes = prepare(model)
    assert [change.name for change in changes] == ["bn"]
    assert type(made.get_layer("bn")).__name__ == "DepthwiseConv2D"
    x = images_for(model, 4)
    np.testing.assert_allclose(predict(made, x), predict(model, x), atol=1e-4)


def test_separable_convolutions_have_names_of_their_own():
    made, _ = prepare(net("separable"))
    names = [operation.name for operation in operations(made)]
    assert len(names) == len(set(names))
    assert "separable0_depthwise" in names
    assert "separable1_depthwise" in names


def test_inputs_are_marked_for_quantisation():
    made, _ = prepare(net("conv_bn"))
    assert type(made.get_layer("image_quantize")).__name__ == "Identity"


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (layers.LayerNormalization(name="odd"), r"'odd' \(LayerNormalization\): it has no integer"),
        (layers.Activation("softplus", name="odd"), "the activation softplus has no integer op"),
        (layers.ReLU(threshold=0.5, name="odd"), "a ReLU with a threshold"),
        (layers.BatchNormalization(axis=1, name="odd"), "another axis than the last"),
    ],
)
def test_what_has_no_integer_form_is_refused_or_named(layer, said):
    image = keras.Input((SIZE, SIZE, 3))
    x = layer(image)
    model = keras.Model(image, layers.Conv2D(4, 3, name="conv")(x))
    with pytest.raises(BridgeError, match=said) as refused:
        prepare(model)
    assert "on_unsupported=keep_float" in str(refused.value)
    assert "\n" not in str(refused.value)
    made, changes = prepare(model, on_unsupported="keep_float")
    assert [(c.name, c.action) for c in changes] == [("odd", "kept float")]
    assert type(made.get_layer("odd_quantize")).__name__ == "Identity"


def test_recurrent_layers_are_refused_by_name():
    sequence = keras.Input((8, 3))
    model = keras.Model(sequence, layers.Dense(2)(layers.LSTM(4, name="memory")(sequence)))
    with pytest.raises(BridgeError, match=r"'memory' \(LSTM"):
        prepare(model)


def test_layers_that_the_bridge_cant_convert_are_refused_by_name():
    image = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(image, layers.Lambda(lambda x: x * 2, name="own")(image))
    with pytest.raises(BridgeError, match=r"'own' \(Lambda\)"):
        prepare(model, on_unsupported="keep_float")


@pytest.mark.parametrize(("error", "refused"), [(2e-5, False), (3e-4, True), (np.nan, True)])
def test_a_rule_that_computes_something_else_is_refused(monkeypatch, error, refused):
    """The error is a share of the outputs' scale: they are all larger than 1."""

    def rule(layer, maker):
        return (lambda x: maker.affine(layer.name, "", x, 2 * (1 + error))), "doubled, about"

    monkeypatch.setitem(RULES, "Rescaling", rule)
    image = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(image, layers.Flatten()(layers.Rescaling(2.0)(image)), name="twice")
    if refused:
        with pytest.raises(BridgeError, match=r"'twice', rewritten for quantization, differs by"):
            prepare(model)
    else:
        assert [change.reason for change in prepare(model)[1]] == ["doubled, about"]


def test_a_rescaling_of_pixels_stays_float_without_a_question():
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="scaled")(image)
    model = keras.Model(image, layers.Conv2D(4, 3, name="conv")(x))
    made, changes = prepare(model)
    assert [(each.name, each.action) for each in changes] == [("scaled", "kept float")]
    assert layout(made)["scaled_quantize"].output == "range"
