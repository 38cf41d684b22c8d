import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers import compact
from tests.layers.compact import bn, depthwise, draw, numbers, predict, relu, with_weights
from tfcompress import graph
from tfcompress.layers import DepthwiseSeparable

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8,), (6, 6, 16))

# Image size, channels, and the layer's geometry.
CASES = [
    pytest.param((5, 7), 3, {"use_bias": True}, id="same"),
    pytest.param((6, 5), 2, {"padding": "valid", "depth_multiplier": 2}, id="valid-multiplier"),
    pytest.param((7, 6), 2, {"strides": 2, "kernel_size": 3}, id="same-stride"),
    pytest.param((6, 6), 3, {"strides": (2, 2), "kernel_size": (2, 4)}, id="even-kernel"),
    pytest.param((7, 5), 2, {"dilation_rate": (2, 1)}, id="dilation"),
    pytest.param((5, 5), 2, {"activation": None, "depthwise_activation": None}, id="linear"),
    pytest.param((4, 4), 2, {"activation": "tanh", "epsilon": 0.1}, id="tanh"),
]
FILTERS = 4
each = pytest.mark.parametrize(("size", "channels", "options"), CASES)


def geometry(layer):
    return {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation": layer.dilation_rate,
    }


def naive(layer, x):
    """The layer as loops."""
    x = depthwise(x, numbers(layer.depthwise.kernel), **geometry(layer))
    x = bn(x + (numbers(layer.depthwise.bias) if layer.use_bias else 0), layer.depthwise_bn)
    if layer.depthwise_activation is keras.activations.relu:
        x = relu(x)
    x = checks.conv2d(x, numbers(layer.pointwise.kernel))
    x = bn(x + (numbers(layer.pointwise.bias) if layer.use_bias else 0), layer.pointwise_bn)
    return {"relu": relu, "tanh": np.tanh, "linear": np.asarray}[layer.activation.__name__](x)


@each
def test_forward_is_the_loops(size, channels, options):
    x = draw((2, *size, channels))
    layer = with_weights(DepthwiseSeparable(FILTERS, **options), x)
    actual = predict(layer, x)
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *actual.shape[1:])


@pytest.mark.parametrize(
    "options", [{}, {"strides": 2}, {"depth_multiplier": 3, "padding": "valid"}]
)
def test_linear_is_the_stock_convolution_with_the_product_of_the_kernels(options):
    """Outputs and gradients: without activations and normalisation it is one convolution."""
    x = draw((2, 6, 5, 2))
    layer = DepthwiseSeparable(
        FILTERS, epsilon=0.0, activation=None, depthwise_activation=None, **options
    )
    layer.build(x.shape)
    columns = numbers(layer.pointwise.kernel).reshape(2, layer.depth_multiplier, FILTERS)
    kernel = np.einsum("hwcj,cjn->hwcn", numbers(layer.depthwise.kernel), columns)
    stock = keras.layers.Conv2D(
        FILTERS, 3, strides=layer.strides, padding=layer.padding, use_bias=False
    )
    stock.build(x.shape)
    stock.set_weights([kernel])
    upstream = draw(layer.compute_output_shape(x.shape), seed=5)
    np.testing.assert_allclose(
        predict(layer, x), ops.convert_to_numpy(stock(x)), rtol=1e-4, atol=1e-5
    )
    of_x, of_kernel = checks.layer_gradients(stock, x, upstream)
    found = checks.layer_gradients(layer, x, upstream)
    paths = [weight.path.split("/")[-2:] for weight in layer.trainable_variables]
    of_depthwise = found[1 + paths.index(["depthwise", "kernel"])]
    of_pointwise = found[1 + paths.index(["pointwise", "kernel"])]
    np.testing.assert_allclose(found[0], of_x, rtol=1e-3, atol=1e-4)
    # The product's gradient, by the rule for products.
    np.testing.assert_allclose(
        of_depthwise, np.einsum("hwcn,cjn->hwcj", of_kernel, columns), rtol=1e-3, atol=1e-3
    )
    expected = np.einsum("hwcn,hwcj->cjn", of_kernel, numbers(layer.depthwise.kernel))
    np.testing.assert_allclose(
        of_pointwise, expected.reshape(of_pointwise.shape), rtol=1e-3, atol=1e-3
    )


def test_training_normalises_by_the_batch_and_moves_the_statistics():
    x = 3 + 2 * draw((8, 6, 6, 2))
    keras.utils.set_random_seed(0)
    layer = DepthwiseSeparable(3, activation=None, momentum=0.5)
    layer.build(x.shape)
    out = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(out.var(axis=(0, 1, 2)), 1, atol=0.05)
    inner = depthwise(x, numbers(layer.depthwise.kernel), padding="same")
    moved = 0.5 * inner.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(numbers(layer.depthwise_bn.moving_mean), moved, atol=1e-3)
    assert (np.abs(predict(layer, x) - out) > 1e-3).any()


def test_new_weights_give_values_that_batch_normalisation_expects():
    """Variances of about 1 in both parts, as the moving ones are: it can be tested at once."""
    keras.utils.set_random_seed(0)
    x = relu(draw((4, 16, 16, 64)))
    layer = DepthwiseSeparable(64, activation=None)
    layer.build(x.shape)
    inner = ops.convert_to_numpy(layer.depthwise(x))
    assert 0.5 < inner.var() < 2
    assert 0.5 < predict(layer, x).var() < 2


def test_counts():
    layer = DepthwiseSeparable(64, use_bias=True)
    layer.build((None, 32, 32, 64))
    weights = (9 * 64 + 64) + (64 * 64 + 64)
    assert weights == 4800
    statistics = 2 * 64 + 2 * 64
    assert layer.count_params() == weights + 2 * (64 + 64) + statistics
    shape = (None, 32, 32, 64)
    assert layer.macs(shape, shape) == 32 * 32 * (9 * 64 + 64 * 64) == 4_784_128

    layer = DepthwiseSeparable(7, (3, 5), 2, depth_multiplier=2)
    inputs = keras.Input((9, 8, 4))
    (row,) = graph.count(keras.Model(inputs, layer(inputs)))
    assert row.parameters == 3 * 5 * 4 * 2 + 2 * 8 + 8 * 7 + 2 * 7
    assert row.macs == (5 * 4) * (3 * 5 * 8 + 8 * 7)


def test_config():
    layer = DepthwiseSeparable(
        6,
        (3, 2),
        2,
        "valid",
        2,
        activation="tanh",
        depthwise_activation=None,
        use_bias=True,
        momentum=0.9,
        epsilon=0.01,
        depthwise_initializer="he_normal",
        pointwise_regularizer=keras.regularizers.L2(0.1),
        name="mine",
    )
    compact.assert_config_round_trip(layer)
    copy = DepthwiseSeparable.from_config(layer.get_config())
    assert copy.name == "mine"
    assert copy.pointwise.kernel_regularizer.l2 == pytest.approx(0.1)
    assert copy.depthwise_act is None


@each
def test_saved_and_loaded_is_the_same(size, channels, options, tmp_path):
    x = draw((2, *size, channels))
    layer = with_weights(DepthwiseSeparable(FILTERS, **options), x)
    compact.assert_same_after_saving(layer, x, tmp_path)


@pytest.mark.parametrize("inner", ["relu", None])
def test_every_weight_moves(inner):
    layer = DepthwiseSeparable(3, depthwise_activation=inner)
    compact.assert_every_weight_moves(layer, draw((4, 5, 5, 2)))
    assert layer.depthwise_bn.center is (inner is not None)


def test_half_precision():
    compact.assert_works_in_half_precision(DepthwiseSeparable, draw((2, 6, 6, 3)), FILTERS)


@each
def test_lowered_is_the_layer_in_stock_layers(size, channels, options):
    x = draw((2, *size, channels))
    layer = with_weights(DepthwiseSeparable(FILTERS, name="mine", **options), x)
    model = compact.assert_lowered_is_the_same(layer, x)
    names = [one.name for one in model.layers[1:]]
    assert names[:2] == ["mine_depthwise", "mine_depthwise_bn"]
    assert [type(one).__name__ for one in model.layers if one.weights] == [
        "DepthwiseConv2D",
        "BatchNormalization",
        "Conv2D",
        "BatchNormalization",
    ]


def test_lowering_doesnt_change_the_layer():
    x = draw((2, 5, 5, 2))
    layer = with_weights(DepthwiseSeparable(3), x)
    before = layer.get_weights()
    model = compact.assert_lowered_is_the_same(layer, x)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    checks.assert_same(layer.get_weights(), before)


def test_lowered_of_half_precision_is_in_single():
    x = draw((2, 5, 5, 2))
    layer = with_weights(DepthwiseSeparable(3, dtype="mixed_float16"), x)
    inputs = keras.Input(x.shape[1:])
    assert layer.lower()(inputs).dtype == "float32"


def test_unknown_sizes():
    x = draw((2, 6, 5, 2))
    layer = with_weights(DepthwiseSeparable(3), x)
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, 3)
    np.testing.assert_allclose(checks.predict(model, x), naive(layer, x), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
def test_file_holds_two_ops(tmp_path):
    x = draw((3, 8, 8, 4))
    layer = with_weights(DepthwiseSeparable(6, use_bias=True, strides=2), x)
    written = compact.assert_export_is_the_same(layer, x, tmp_path)
    assert written.ops == {"DEPTHWISE_CONV_2D": 1, "CONV_2D": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be a whole number, 1 or more.*filters=0"),
        ({"kernel_size": (3, 0)}, r"kernel_size must be.*\(3, 0\)"),
        ({"kernel_size": (3, 3, 3)}, r"or two of them.*\(3, 3, 3\)"),
        ({"depth_multiplier": 0}, "depth_multiplier must be.*=0"),
        ({"padding": "causal"}, "'same' or 'valid'.*'causal'"),
        ({"strides": (1, 2)}, r"equal strides.*strides=\(1, 2\)"),
        ({"strides": 2, "dilation_rate": 2}, "exclude.*strides=2, dilation_rate=2"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DepthwiseSeparable(**{"filters": 4, **options})


def test_batch_normalisation_is_keras_unless_told_otherwise():
    layer, usual = DepthwiseSeparable(4), keras.layers.BatchNormalization()
    for each in (layer.depthwise_bn, layer.pointwise_bn):
        assert (each.momentum, each.epsilon) == (usual.momentum, usual.epsilon) == (0.99, 1e-3)
    layer = DepthwiseSeparable(4, momentum=0.7, epsilon=0.2)
    for each in (layer.depthwise_bn, layer.pointwise_bn):
        assert (each.momentum, each.epsilon) == (0.7, 0.2)
