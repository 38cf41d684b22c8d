"""What the binary techniques leave alone, and whole models of others."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.test_binary import (
    BINARY,
    actions,
    chain,
    images,
    order,
    reasons,
    transform,
)
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D
from tfcompress.training import logits


class TestKept:
    @pytest.mark.parametrize(
        ("layer", "why"),
        [
            (layers.DepthwiseConv2D(3, name="odd"), "each channel has a small kernel of its own"),
            (
                layers.Conv2DTranspose(4, 3, name="odd"),
                "only Conv1D, Conv2D, Dense and EinsumDense have",
            ),
        ],
    )
    def test_kinds_without_a_binary_form(self, layer, why):
        model = chain(type(layer).from_config(layer.get_config()), layers.Conv2D(4, 3, name="conv"))
        candidate = transform("xnor", model)
        assert actions(candidate)["odd"] == "kept"
        assert reasons(candidate)["odd"] == (f"{type(layer).__name__} has no binary form: {why}")
        assert actions(candidate)["conv"] == "binarised"

    def test_shared_layers(self):
        shared = layers.Conv2D(4, 3, padding="same", name="shared")
        model = chain(shared, shared, layers.Conv2D(4, 3, name="conv"))
        candidate = transform("xnor", model)
        assert reasons(candidate)["shared"].startswith("shared: called 2 times")
        assert type(candidate.model.get_layer("shared")) is layers.Conv2D
        assert order(candidate.model).count("shared") == 1

    def test_binary_already(self):
        model = chain(BinaryConv2D(4, 3, name="binary"), layers.Conv2D(4, 3, name="conv"))
        assert reasons(transform("xnor", model))["binary"] == "binary already"

    def test_nothing_to_binarise(self):
        model = chain(layers.DepthwiseConv2D(3, name="depth"))
        with pytest.raises(InputError) as caught:
            transform("xnor", model)
        message = str(caught.value)
        assert "can be binarised" in message
        assert "first: first weighted layer" in message
        assert "depth: DepthwiseConv2D has no binary form" in message
        assert "last: last weighted layer" in message
        assert "\n" not in message
        inputs = keras.Input((8, 8, 3))
        with pytest.raises(InputError, match="it has no weights"):
            transform("xnor", keras.Model(inputs, layers.Flatten()(inputs)))

    def test_a_dynamic_size_that_cannot_be_padded(self):
        inputs = x = keras.Input((None, None, 3))
        for _ in range(2):
            x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
        model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
        with pytest.raises(InputError, match="needs a static height and width"):
            transform("xnor", model)
        assert transform("bwn", model).model.input_shape == (None, None, None, 3)

    def test_subclassed_and_foreign_models(self):
        class Own(keras.Model):
            pass

        with pytest.raises(InputError, match="is subclassed and has no graph"):
            transform("xnor", Own())
        with pytest.raises(InputError, match="expected a Keras model; got str"):
            transform("xnor", "vgg_small")


class TestWholeModels:
    def test_nested(self, small):
        backbone = small()
        features = keras.Model(backbone.input, backbone.get_layer("flatten").output, name="body")
        model = keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                features,
                layers.Dense(8, activation="relu", name="hidden"),
                layers.Dense(3, name="scores"),
            ]
        )
        candidate = transform("xnor", model)
        assert actions(candidate) == {
            "conv1": "kept", "conv2": "binarised", "conv3": "binarised",
            "hidden": "binarised", "scores": "kept",
        }  # fmt: skip
        assert logits(candidate.model, images()).shape == (4, 3)

    def test_several_outputs(self):
        x = inputs = keras.Input((8, 8, 3))
        x = layers.Conv2D(4, 3, name="stem")(x)
        x = layers.Conv2D(4, 3, name="body")(x)
        middle = layers.ReLU(name="middle")(x)
        flat = layers.Flatten()(layers.MaxPooling2D(2, name="pool")(middle))
        heads = [layers.Dense(2, name="one")(flat), layers.Dense(3, name="two")(flat), middle]
        candidate = transform("xnor", keras.Model(inputs, heads))
        assert actions(candidate) == {
            "stem": "kept", "body": "binarised", "one": "kept", "two": "kept"
        }  # fmt: skip
        assert [tuple(o.shape[1:]) for o in candidate.model.outputs] == [(2,), (3,), (4, 4, 4)]
        # The activation stands before the pool here: the model's user sees its values.
        names = order(candidate.model)
        assert names.index("body_prelu") < names.index("pool")

    # The others are tried on VGG-16 below.
    @pytest.mark.parametrize(
        "name",
        [pytest.param(n, marks=() if n == "xnor" else pytest.mark.slow) for n in BINARY],
    )
    def test_mobilenet(self, name):
        model = keras.applications.MobileNetV2(
            input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=5
        )
        candidate = transform(name, model)
        kinds = [line.kind for line in candidate.layers if line.action == "kept"]
        assert kinds == ["Conv2D"] + ["DepthwiseConv2D"] * 17 + ["Dense"]
        binary = [layer for layer in candidate.model.layers if isinstance(layer, BinaryConv2D)]
        # 16 blocks expand and 17 project; one convolution follows them.
        assert len(binary) == 16 + 17 + 1
        out = logits(candidate.model, images(2, 32))
        np.testing.assert_allclose(out.sum(1), 1, rtol=1e-5)
        assert np.isfinite(out).all()

    def test_resnet(self):
        model = keras.applications.ResNet50(input_shape=(32, 32, 3), weights=None, classes=5)
        candidate = transform("xnor", model)
        # 3 convolutions in each of 3 + 4 + 6 + 3 blocks, and 4 shortcuts; the first one stays.
        assert list(actions(candidate).values()).count("binarised") == 3 * 16 + 4
        assert candidate.model.output_shape == (None, 5)
        assert not any("_bn" in name and "sign" not in name for name in order(candidate.model)[4:])

    @pytest.mark.parametrize("name", BINARY)
    def test_vgg(self, name):
        body = keras.applications.VGG16(
            input_shape=(32, 32, 3), include_top=False, pooling="avg", weights=None
        )
        model = keras.Sequential([keras.Input((32, 32, 3)), body, layers.Dense(5)])
        candidate = transform(name, model)
        assert list(actions(candidate).values()).count("binarised") == 12
        names = order(candidate.model)
        if name == "bwn":
            assert candidate.model.get_layer("block1_conv2").activation.__name__ == "relu"
        else:
            at = names.index("block1_conv2")
            assert names[at - 1 : at + 3] == [
                "block1_conv2_sign_bn", "block1_conv2", "block1_pool", "block1_conv2_prelu"
            ]  # fmt: skip
