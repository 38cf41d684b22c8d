import keras
import numpy as np
import pytest
from keras import layers

from tests.techniques.conftest import randomise
from tfcompress import graph, techniques
from tfcompress.errors import InputError
from tfcompress.layers import BinaryConv2D, BinaryDense

BINARY = ("xnor", "bwn", "binary_activations")


def transform(name, model, **options):
    technique = techniques.get(name)
    return technique.transform(techniques.Candidate(model), technique.make_options(**options))


def order(model):
    """The names of the layers in the order of their computation, input left out."""
    return list(graph.Graph.of(model).operations)


def actions(candidate):
    return {line.name: line.action for line in candidate.layers}


def reasons(candidate):
    return {line.name: line.reason for line in candidate.layers}


def numbers(variable):
    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def images(count=4, size=16):
    return np.random.default_rng(1).normal(size=(count, size, size, 3)).astype(np.float32)


class TestOrder:
    @pytest.mark.parametrize("name", ["xnor", "binary_activations"])
    def test_binary_inputs(self, small, name):
        model = transform(name, small()).model
        assert order(model) == [
            "conv1", "conv1_bn", "conv1_relu", "pool1",
            "conv2_sign_bn", "conv2", "pool2", "conv2_prelu",
            "conv3_sign_bn", "conv3", "conv3_prelu",
            "flatten", "logits",
        ]  # fmt: skip
        conv = model.get_layer("conv2")
        assert type(conv) is BinaryConv2D
        assert conv.binarize_inputs
        assert conv.binarize_kernel is (name == "xnor")
        assert conv.use_bias
        assert model.get_layer("conv2_prelu").alpha.shape == (1, 1, 16)
        np.testing.assert_array_equal(
            model.get_layer("conv2_prelu").alpha, np.full((1, 1, 16), 0.25)
        )

    def test_binary_weights_alone(self, small):
        plain = small()
        model = transform("bwn", plain).model
        assert order(model) == order(plain)
        conv = model.get_layer("conv2")
        assert type(conv) is BinaryConv2D
        assert (conv.binarize_inputs, conv.binarize_kernel, conv.use_bias) == (False, True, False)

    @pytest.mark.parametrize(
        ("activation", "end"),
        [
            ("prelu", ["pool2", "conv2_prelu"]),
            ("relu", ["pool2", "conv2_relu"]),
            ("linear", ["pool2"]),
            ("keep", ["conv2_relu", "pool2"]),
        ],
    )
    def test_activation(self, small, activation, end):
        names = order(transform("xnor", small(), activation=activation).model)
        at = names.index("conv2")
        assert names[at + 1 : names.index("conv3_sign_bn")] == end

    def test_first_and_last_layers_are_untouched_and_reported(self, small):
        plain = small()
        for name in BINARY:
            candidate = transform(name, plain)
            assert actions(candidate) == {
                "conv1": "kept", "conv2": "binarised", "conv3": "binarised", "logits": "kept"
            }  # fmt: skip
            assert reasons(candidate)["conv1"].startswith("first weighted layer")
            assert reasons(candidate)["logits"].startswith("last weighted layer")
            for layer in ("conv1", "conv1_bn", "logits"):
                kept = candidate.model.get_layer(layer)
                assert type(kept) is type(plain.get_layer(layer))
                for old, new in zip(
                    plain.get_layer(layer).get_weights(), kept.get_weights(), strict=True
                ):
                    np.testing.assert_array_equal(new, old)
        xnor = reasons(transform("xnor", plain))
        assert xnor["conv2"] == "binary inputs and weights; conv2_bn moved before it"
        assert reasons(transform("bwn", plain))["conv2"] == "binary weights"


class TestWeights:
    @pytest.mark.parametrize("frozen", [False, True])
    @pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
    def test_the_old_bn_is_folded(self, frozen, scale, center):
        x = inputs = keras.Input((8, 8, 3))
        x = layers.Conv2D(4, 3, name="first")(x)
        x = layers.Conv2D(5, 3, name="conv", bias_initializer="normal")(x)
        bn = layers.BatchNormalization(scale=scale, center=center, epsilon=0.01, name="bn")
        model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.ReLU()(bn(x)))))
        randomise(model)
        bn.trainable = not frozen
        new = transform("xnor", model).model.get_layer("conv")
        kernel, bias = map(numbers, model.get_layer("conv").weights)
        gamma = numbers(bn.gamma) if scale else np.ones(5)
        beta = numbers(bn.beta) if center else np.zeros(5)
        mean, variance = numbers(bn.moving_mean), numbers(bn.moving_variance)
        for filter_index in range(5):
            factor = gamma[filter_index] / np.sqrt(variance[filter_index] + 0.01)
            np.testing.assert_allclose(
                numbers(new.kernel)[..., filter_index],
                kernel[..., filter_index] * factor,
                rtol=1e-5,
            )
            np.testing.assert_allclose(
                numbers(new.bias)[filter_index],
                (bias[filter_index] - mean[filter_index]) * factor + beta[filter_index],
                rtol=1e-5,
                atol=1e-6,
            )

    def test_the_folded_layer_computes_what_convolution_and_bn_did(self, small):
        """Up to the signs: the latent weights as a plain convolution."""
        plain = small()
        new = transform("xnor", plain).model.get_layer("conv2")
        conv = layers.Conv2D(16, 3, padding="same")
        x = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
        conv.build(x.shape)
        conv.set_weights(new.get_weights())
        old = plain.get_layer("conv2_bn")(plain.get_layer("conv2")(x))
        np.testing.assert_allclose(numbers(conv(x)), numbers(old), atol=1e-5)

    def test_bwn_keeps_kernel_and_bn(self, small):
        plain = small()
        model = transform("bwn", plain).model
        for name in ("conv2", "conv2_bn", "conv3", "conv3_bn"):
            for old, new in zip(
                plain.get_layer(name).get_weights(),
                model.get_layer(name).get_weights(),
                strict=True,
            ):
                np.testing.assert_array_equal(new, old)

    def test_from_scratch(self, small):
        plain = small()
        for options in ({"init": "scratch"}, {"recipe": "paper"}):
            model = transform("xnor", plain, **options).model
            assert not np.allclose(model.get_layer("conv1").kernel, plain.get_layer("conv1").kernel)
            np.testing.assert_array_equal(model.get_layer("conv1_bn").moving_mean, np.zeros(8))
            np.testing.assert_array_equal(model.get_layer("conv2").bias, np.zeros(16))
        warm = transform("xnor", plain, recipe="paper", init="float").model
        np.testing.assert_array_equal(
            warm.get_layer("conv1").kernel, plain.get_layer("conv1").kernel
        )

    def test_clip_value_reaches_the_layers(self, small):
        conv = transform("xnor", small(), clip_value="0.5").model.get_layer("conv2")
        assert conv.clip_value == 0.5
        assert conv.kernel_constraint.clip_value == 0.5


class TestRecipes:
    @pytest.mark.parametrize("name", BINARY)
    def test_paper(self, small, name):
        technique = techniques.get(name)
        training = technique.training(technique.make_options(recipe="paper"))
        assert (training.optimizer, training.learning_rate) == ("sgd", 0.001)
        assert (training.learning_rate_schedule, training.momentum) == ("constant", 0.9)
        assert training.distillation is None
        names = order(transform(name, small(), recipe="paper").model)
        assert "conv2_relu" in names
        assert not any("prelu" in layer for layer in names)

    @pytest.mark.parametrize(("name", "epochs"), [("xnor", 20), ("bwn", 10)])
    def test_default(self, name, epochs):
        technique = techniques.get(name)
        training = technique.training(technique.make_options())
        assert (training.optimizer, training.learning_rate_schedule) == ("adam", "cosine")
        assert (training.epochs, training.distillation.weight) == (epochs, 0.7)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"recipe": "papr"}, "option recipe .*default, long, paper; got 'papr'"),
            ({"init": "zero"}, "option init .*float, scratch; got 'zero'"),
            ({"clip_value": "0"}, "option clip_value must be positive; got 0"),
            ({"clip_value": "-1"}, "option clip_value must be positive; got -1"),
            ({"activation": "gelu"}, "option activation .*prelu, relu, linear, keep"),
        ],
    )
    def test_wrong_options(self, options, message):
        with pytest.raises(InputError, match=message):
            techniques.get("xnor").make_options(**options)

    def test_bwn_has_no_activation_option(self):
        with pytest.raises(InputError, match="unknown option of bwn 'activation'"):
            techniques.get("bwn").make_options(activation="relu")


def chain(*inner, size=8):
    """A net whose first and last layers are plain, with the given layers between."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(4, 3, padding="same", name="first")(x)
    for layer in inner:
        x = layer(x)
    x = layers.Dense(2, name="last")(layers.Flatten(name="flat")(x))
    return keras.Model(inputs, x)


class TestBlocks:
    def test_activation_fused_into_the_convolution(self):
        inner = (
            layers.Conv2D(6, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2, name="pool"),
        )
        model = transform("xnor", chain(*inner)).model
        names = ["first", "conv_sign_bn", "conv", "pool", "conv_prelu", "flat", "last"]
        assert order(model) == names
        assert model.get_layer("conv").activation.__name__ == "linear"
        kept = transform("xnor", chain(*inner), activation="keep").model
        assert order(kept) == [name for name in names if name != "conv_prelu"]
        assert kept.get_layer("conv").activation.__name__ == "relu"
        bwn = transform("bwn", chain(*inner)).model
        assert bwn.get_layer("conv").activation.__name__ == "relu"

    def test_no_activation_gets_none(self):
        model = chain(layers.Conv2D(6, 3, name="conv"), layers.MaxPooling2D(2, name="pool"))
        assert order(transform("xnor", model).model) == [
            "first", "conv_sign_bn", "conv", "pool", "flat", "last"
        ]  # fmt: skip

    def test_convolution_without_bn(self):
        model = chain(layers.Conv2D(6, 3, name="conv"), layers.ReLU(name="act"))
        candidate = transform("xnor", model)
        assert order(candidate.model) == [
            "first", "conv_sign_bn", "conv", "conv_prelu", "flat", "last"
        ]  # fmt: skip
        np.testing.assert_array_equal(
            candidate.model.get_layer("conv").kernel, model.get_layer("conv").kernel
        )
        assert reasons(candidate)["conv"] == "binary inputs and weights"

    @pytest.mark.parametrize("gate", ["sigmoid", "softmax", "hard_sigmoid"])
    def test_gates_stay(self, gate):
        fused = chain(layers.Conv2D(6, 1, activation=gate, name="conv"))
        model = transform("xnor", fused).model
        assert order(model) == ["first", "conv_sign_bn", "conv", "flat", "last"]
        assert model.get_layer("conv").activation.__name__ == gate
        apart = chain(layers.Conv2D(6, 1, name="conv"), layers.Activation(gate, name="gate"))
        model = transform("xnor", apart).model
        assert order(model) == ["first", "conv_sign_bn", "conv", "gate", "flat", "last"]

    def test_hidden_dense_layers(self):
        model = chain(
            layers.Flatten(name="vector"),
            layers.Dense(6, name="hidden"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="act"),
        )
        randomise(model)
        new = transform("xnor", model).model
        assert order(new) == [
            "first", "vector", "hidden_sign_bn", "hidden", "hidden_prelu", "flat", "last"
        ]  # fmt: skip
        assert type(new.get_layer("hidden")) is BinaryDense
        assert new.get_layer("hidden_prelu").alpha.shape == (6,)
        bn = model.get_layer("bn")
        factor = numbers(bn.gamma) / np.sqrt(numbers(bn.moving_variance) + bn.epsilon)
        np.testing.assert_allclose(
            numbers(new.get_layer("hidden").kernel),
            numbers(model.get_layer("hidden").kernel) * factor,
            rtol=1e-5,
        )

    def test_shape_arguments_are_kept(self):
        conv = layers.Conv2D(
            8, (3, 2), strides=1, padding="same", dilation_rate=(2, 1), groups=2, name="conv"
        )
        strided = layers.Conv2D(6, 3, strides=(2, 1), name="strided")
        model = chain(conv, strided)
        new = transform("xnor", model).model
        for old in (conv, strided):
            config = new.get_layer(old.name).get_config()
            for key in ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"):
                assert config[key] == old.get_config()[key]
        assert new.output_shape == model.output_shape

    def test_what_others_need_stays(self):
        """A BN and an activation whose values are used elsewhere, too."""
        x = inputs = keras.Input((8, 8, 4))
        x = layers.Conv2D(4, 3, padding="same", name="first")(x)
        conv = layers.Conv2D(4, 3, padding="same", name="conv")(x)
        bn = layers.BatchNormalization(name="bn")(conv)
        act = layers.ReLU(name="act")(bn)
        merged = layers.Add(name="add")([act, bn])
        outputs = layers.Dense(2, name="last")(layers.Flatten(name="flat")(merged))
        model = keras.Model(inputs, outputs)
        names = order(transform("xnor", model).model)
        assert names == ["first", "conv_sign_bn", "conv", "act", "add", "flat", "last"]

    def test_residual_addition(self):
        x = inputs = keras.Input((8, 8, 3))
        x = layers.Conv2D(4, 3, padding="same", name="first")(x)
        y = layers.Conv2D(4, 3, padding="same", name="conv")(x)
        y = layers.BatchNormalization(name="bn")(y)
        x = layers.ReLU(name="act")(layers.Add(name="add")([x, y]))
        model = keras.Model(inputs, layers.Dense(2, name="last")(layers.Flatten(name="flat")(x)))
        assert order(transform("xnor", model).model) == [
            "first", "conv_sign_bn", "conv", "add", "act", "flat", "last"
        ]  # fmt: skip
