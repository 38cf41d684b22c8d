"""What every factorised convolution must do; their own tests hold their formulas and counts."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests import checks
from tfcompress import graph
from tfcompress.layers import (
    BiclusteredConv2D,
    CPConv2D,
    LookupConv2D,
    LowRankConv2D,
    MonochromaticConv2D,
    SpatialSeparableConv2D,
    TTConv2D,
    TuckerConv2D,
)

# Those that hold any kernel at full rank.
EXACT = [
    CPConv2D,
    SpatialSeparableConv2D,
    TuckerConv2D,
    LowRankConv2D,
    BiclusteredConv2D,
    LookupConv2D,
    TTConv2D,
]
LAYERS = [MonochromaticConv2D, *EXACT]
# Their depthwise convolutions take one stride for both axes.
ONE_STRIDE = (CPConv2D, TTConv2D, BiclusteredConv2D, MonochromaticConv2D)

# JAX compiles every new shape.
EXAMPLES = 12 if keras.backend.backend() == "tensorflow" else 3

each = pytest.mark.parametrize("kind", LAYERS)


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def with_weights(layer, channels, seed=1):
    layer.build((None, None, None, channels))
    for at, weight in enumerate(layer.trainable_weights):  # Not the numbers of clusters.
        weight.assign(0.5 * draw(weight.shape, seed + at))
    return layer


def naive(layer, x):
    """A full convolution with the kernel that the layer stands for, one output at a time."""
    out = checks.conv2d(
        x,
        ops.convert_to_numpy(layer.logical_kernel()),
        strides=layer.strides,
        padding=layer.padding,
        dilation=layer.dilation_rate,
    )
    return out + (ops.convert_to_numpy(layer.bias) if layer.use_bias else 0.0)


CASES = [
    pytest.param((6, 6), {"kernel_size": (3, 3)}, id="valid"),
    pytest.param((5, 7), {"kernel_size": (3, 3), "padding": "same"}, id="same"),
    pytest.param((5, 4), {"kernel_size": (2, 4), "padding": "same"}, id="same-even-kernel"),
    pytest.param((7, 6), {"kernel_size": (3, 3), "strides": 2}, id="valid-stride"),
    pytest.param(
        (7, 6), {"kernel_size": (3, 3), "strides": 2, "padding": "same"}, id="same-stride"
    ),
    pytest.param((7, 6), {"kernel_size": (3, 2), "strides": 3, "padding": "same"}, id="stride-3"),
    pytest.param((6, 5), {"kernel_size": (1, 1), "strides": 2, "padding": "same"}, id="gaps"),
    pytest.param((7, 5), {"kernel_size": (3, 3), "dilation_rate": (2, 1)}, id="valid-dilation"),
    pytest.param(
        (4, 6), {"kernel_size": (3, 3), "dilation_rate": 2, "padding": "same"}, id="same-dilation"
    ),
    pytest.param((6, 5), {"kernel_size": (1, 3), "padding": "same"}, id="row"),
    pytest.param((6, 5), {"kernel_size": (3, 1), "strides": 2, "padding": "same"}, id="column"),
]


@each
@pytest.mark.parametrize(("size", "options"), CASES)
def test_forward_is_the_loops_with_its_kernel(kind, size, options):
    x = draw((2, *size, 4))
    layer = with_weights(kind(6, rank=3, **options), 4)
    actual = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *actual.shape[1:])


@pytest.mark.parametrize("kind", [k for k in LAYERS if k not in ONE_STRIDE])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_unequal_strides(kind, padding):
    x = draw((2, 7, 8, 4))
    layer = with_weights(kind(6, 3, rank=3, strides=(2, 3), padding=padding), 4)
    actual = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-4, atol=1e-4)


@st.composite
def convolutions(draw):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.integers(1, 3))
    dilation = (1, 1)
    if strides == 1:
        dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [n + draw(st.integers(0, 4)) for n in reach]
    return {
        "size": tuple(size),
        "channels": draw(st.integers(1, 6)),
        "seed": draw(st.integers(0, 99)),
        "options": {
            "filters": draw(st.integers(1, 6)),
            "kernel_size": kernel,
            "strides": strides,
            "dilation_rate": dilation,
            "padding": draw(st.sampled_from(["same", "valid"])),
            "use_bias": draw(st.booleans()),
            "activation": draw(st.sampled_from([None, "relu", "tanh"])),
        },
    }


@pytest.mark.parametrize("kind", EXACT)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(case=convolutions())
def test_full_rank_is_identity(kind, case):
    x = draw((2, *case["size"], case["channels"]), case["seed"])
    conv = with_weights(keras.layers.Conv2D(**case["options"]), case["channels"], case["seed"])
    rank = kind.full_rank(tuple(conv.kernel.shape))
    layer = kind.from_conv(conv, rank)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.logical_kernel()), ops.convert_to_numpy(conv.kernel), atol=1e-4
    )
    expected = ops.convert_to_numpy(conv(x))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-4)
    assert layer.decomposition_error < 1e-4
    inputs = keras.Input(x.shape[1:])
    lowered = keras.Model(inputs, layer.lower()(inputs))
    np.testing.assert_allclose(checks.predict(lowered, x), expected, atol=1e-4)


@pytest.mark.parametrize("kind", EXACT)
def test_a_rank_above_full_is_lowered_to_it(kind):
    conv = with_weights(keras.layers.Conv2D(6, 3, name="mine"), 4)
    rank = kind.full_rank(tuple(conv.kernel.shape))
    above = tuple(10 * r for r in rank) if isinstance(rank, tuple) else 10 * rank
    layer = kind.from_conv(conv, above)
    x = draw((1, 5, 5, 4))
    checks.assert_same(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(conv(x)), atol=1e-4)
    assert layer.count_params() == kind.from_conv(conv, rank).count_params()


@each
def test_from_conv_keeps_what_isnt_the_kernel(kind):
    conv = keras.layers.Conv2D(
        6, 3, strides=2, padding="same", activation="relu", name="mine", dtype="mixed_float16"
    )
    with_weights(conv, 4)
    conv.trainable = False
    layer = kind.from_conv(conv, 2)
    assert (layer.name, layer.strides, layer.padding) == ("mine", (2, 2), "same")
    assert layer.activation is keras.activations.relu
    assert layer.dtype_policy.name == "mixed_float16"
    assert not layer.trainable
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.bias), ops.convert_to_numpy(conv.bias))
    assert 0 < layer.decomposition_error < 1


@each
@pytest.mark.parametrize("size", [(7, 6), (8, 8)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        {"kernel_size": (3, 2), "use_bias": False},
    ],
)
def test_lowered_is_the_layer_in_stock_layers(kind, size, options):
    x = draw((2, *size, 4))
    layer = with_weights(kind(6, rank=3, name="mine", **options), 4)
    lowered = layer.lower(activations="unit")
    inputs = [keras.Input(x.shape[1:]), keras.Input(x.shape[1:])]
    model = keras.Model(inputs, [lowered(each) for each in inputs])
    assert not any(type(op).__module__.startswith("tfcompress") for op in model.operations)
    expected = ops.convert_to_numpy(layer(x))
    checks.assert_same(checks.predict(model, [x, x]), [expected, expected])
    for stock in model.layers:
        if isinstance(stock, keras.layers.Conv2D):
            assert stock.groups == 1


@each
def test_lowering_doesnt_change_the_layer(kind):
    layer = with_weights(kind(4, 3, rank=2), 4)
    before = layer.get_weights()
    inputs = keras.Input((5, 5, 4))
    model = keras.Model(inputs, layer.lower()(inputs))
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    checks.assert_same(layer.get_weights(), before)


@pytest.mark.parametrize("kind", LAYERS[:-1])  # TTConv2D's products take pixels for images.
def test_macs_are_those_of_the_lowered_layers(kind):
    for options in ({}, {"strides": 2, "padding": "same"}, {"dilation_rate": 2}):
        layer = with_weights(kind(6, 3, rank=3, **options), 4)
        inputs = keras.Input((9, 8, 4))
        lowered = graph.macs(keras.Model(inputs, layer.lower()(inputs)))
        shape = (None, 9, 8, 4)
        assert layer.macs(shape, layer.compute_output_shape(shape)) == lowered
        assert graph.macs(keras.Model(inputs, layer(inputs))) == lowered


@each
def test_factors_weights_are_counted(kind):
    layer = with_weights(kind(6, 3, rank=3), 4)
    trained = sum(math.prod(weight.shape) for weight in layer.trainable_weights)
    assert layer.kernel_parameters((3, 3, 4, 6)) == trained - 6


@each
def test_one_train_step_moves_every_weight(kind):
    keras.utils.set_random_seed(0)
    layer = kind(4, 3, rank=3, padding="same")
    model = keras.Sequential([keras.Input((5, 5, 4)), layer])
    before = list(map(ops.convert_to_numpy, model.trainable_weights))
    checks.train_one_step(model, draw((2, 5, 5, 4)), draw((2, 5, 5, 4), 1))
    after = map(ops.convert_to_numpy, model.trainable_weights)
    for old, new in zip(before, after, strict=True):
        assert np.isfinite(new).all()
        assert (old != new).all()


@each
def test_gradients_are_the_full_kernels(kind):
    """By the chain rule: of the inputs they are those of the full convolution."""
    x = draw((2, 6, 6, 4))
    layer = with_weights(kind(4, 3, rank=3, strides=2, padding="same"), 4)
    stock = keras.layers.Conv2D(4, 3, strides=2, padding="same")
    stock.build(x.shape)
    stock.set_weights(
        [ops.convert_to_numpy(layer.logical_kernel()), ops.convert_to_numpy(layer.bias)]
    )
    upstream = draw((2, 3, 3, 4), 5)
    found = checks.layer_gradients(layer, x, upstream)
    expected = checks.layer_gradients(stock, x, upstream)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[-1], expected[-1], rtol=1e-3, atol=1e-4)


@each
def test_starts_with_the_scale_of_a_full_convolution(kind):
    keras.utils.set_random_seed(0)
    x = draw((8, 12, 12, 32))
    layer = kind(32, 3, rank=16)
    deviation = float(np.std(ops.convert_to_numpy(layer(x))))
    assert 0.3 < deviation < 3


@each
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 4))
    x = kind(4, 3, rank=2, padding="same", activation="relu")(inputs)
    outputs = kind(3, (2, 3), rank=1, strides=2, use_bias=False)(x)
    model = keras.Model(inputs, outputs)
    loaded = checks.save_and_load(model, tmp_path)
    images = draw((2, 6, 6, 4))
    assert [type(layer) for layer in loaded.layers[1:]] == [kind, kind]
    np.testing.assert_array_equal(checks.predict(loaded, images), checks.predict(model, images))


@each
def test_config_round_trip(kind):
    layer = kind(
        6,
        (3, 2),
        2,
        strides=2,
        padding="same",
        activation="tanh",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(0.1),
        name="mine",
    )
    config = layer.get_config()
    assert (config["padding"], config["strides"], config["use_bias"]) == ("same", (2, 2), False)
    assert kind.from_config(config).get_config() == config


@each
def test_mixed_precision(kind):
    x = draw((2, 6, 6, 4))
    half = with_weights(kind(3, 3, rank=3, dtype="mixed_float16"), 4)
    full = with_weights(kind(3, 3, rank=3), 4)
    out = half(x)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    assert keras.backend.standardize_dtype(half.weights[0].dtype) == "float32"
    expected = ops.convert_to_numpy(full(x))
    np.testing.assert_allclose(ops.convert_to_numpy(out), expected, rtol=0.02, atol=0.05)


@each
def test_unknown_sizes(kind):
    x = draw((2, 5, 7, 4))
    layer = with_weights(kind(3, 3, rank=2, strides=2, padding="same"), 4)
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, 3)
    np.testing.assert_allclose(checks.predict(model, x), naive(layer, x), rtol=1e-4, atol=1e-4)
    assert layer.macs((None, None, None, 4), (None, None, None, 3)) > 0


@each
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be a whole number, 1 or more.*filters=0"),
        ({"rank": 0}, "rank must be .*rank=0"),
        ({"kernel_size": (3, 0)}, r"kernel_size must be .*\(3, 0\)"),
        ({"strides": (1, 2, 3)}, "strides must be"),
        ({"padding": "full"}, "padding must be 'same' or 'valid'.*'full'"),
        ({"strides": 2, "dilation_rate": 2}, "exclude each other"),
    ],
)
def test_bad_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"filters": 4, "kernel_size": 3, "rank": 2, **options})


@pytest.mark.parametrize("kind", ONE_STRIDE)
def test_unequal_strides_are_refused_where_theyre_depthwise(kind):
    with pytest.raises(ValueError, match=r"same stride for both axes.*\(1, 2\)"):
        kind(4, 3, rank=2, strides=(1, 2))
    conv = with_weights(keras.layers.Conv2D(4, 3, strides=(1, 2), name="mine"), 4)
    with pytest.raises(ValueError, match=r"layer 'mine': strides \(1, 2\) differ"):
        kind.from_conv(conv, 2)


@each
def test_too_small_an_input_is_refused(kind):
    with pytest.raises(ValueError, match=r"\(3, 3\) doesn't fit"):
        kind(4, 3, rank=2).compute_output_shape((None, 2, 5, 4))
    with pytest.raises(ValueError, match="input channels must be known"):
        kind(4, 3, rank=2).build((None, 5, 5, None))


@each
@pytest.mark.parametrize(
    ("conv", "message"),
    [
        (lambda: keras.layers.Conv2D(4, 3, groups=2, name="mine"), "'mine': a grouped .*groups=2"),
        (lambda: keras.layers.DepthwiseConv2D(3, name="mine"), "'mine': DepthwiseConv2D has no"),
        (
            lambda: keras.layers.Conv2D(4, 3, data_format="channels_first", name="mine"),
            "channels_f",
        ),
    ],
)
def test_from_conv_refuses_what_it_cant_hold(kind, conv, message):
    layer = conv()
    with pytest.raises(ValueError, match=message):
        kind.from_conv(layer, 2)


@each
def test_from_conv_wants_weights(kind):
    with pytest.raises(ValueError, match="'mine': it has no weights yet"):
        kind.from_conv(keras.layers.Conv2D(4, 3, name="mine"), 2)
