import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tfcompress.layers import BinaryConv2D, ClipWeights

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3), (6, 6, 16))

MODES = [
    pytest.param({"binarize_inputs": True, "binarize_kernel": True}, id="both"),
    pytest.param({"binarize_inputs": True, "binarize_kernel": False}, id="inputs"),
    pytest.param({"binarize_inputs": False, "binarize_kernel": True}, id="kernel"),
]
# Image size, input channels, and the layer's geometry.
CASES = [
    pytest.param((6, 6), 2, {"kernel_size": (3, 3)}, id="valid"),
    pytest.param((5, 7), 3, {"kernel_size": (3, 3), "padding": "same"}, id="same"),
    pytest.param((5, 4), 2, {"kernel_size": (2, 4), "padding": "same"}, id="same-even-kernel"),
    pytest.param((7, 6), 2, {"kernel_size": (3, 3), "strides": (2, 2)}, id="valid-stride"),
    pytest.param(
        (7, 6), 2, {"kernel_size": (3, 3), "strides": (2, 2), "padding": "same"}, id="same-stride"
    ),
    pytest.param(
        (6, 5), 2, {"kernel_size": (3, 2), "strides": (3, 2), "padding": "same"}, id="same-strides"
    ),
    pytest.param(
        (6, 5), 3, {"kernel_size": (1, 1), "strides": (2, 2), "padding": "same"}, id="gaps"
    ),
    pytest.param((7, 5), 2, {"kernel_size": (3, 3), "dilation_rate": (2, 1)}, id="valid-dilated"),
    pytest.param(
        (4, 6),
        2,
        {"kernel_size": (3, 3), "dilation_rate": (2, 2), "padding": "same"},
        id="dilated",
    ),
    pytest.param((5, 5), 4, {"kernel_size": (3, 3), "groups": 2, "padding": "same"}, id="groups"),
    pytest.param(
        (5, 6), 4, {"kernel_size": (2, 2), "groups": 4, "strides": (2, 2)}, id="depthwise"
    ),
]
CASE = {case.id: case for case in CASES}
FILTERS = 4


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def images(size, channels, seed=0):
    """Two images with values at 0, at the clip edges, and just beyond them."""
    x = draw((2, *size, channels), seed)
    x.flat[:7] = [0.0, -0.0, 1.0, -1.0, 1.0001, -1.0001, 30.0]
    return x


def with_weights(layer, x, seed=1):
    """The layer with latent weights at 0, within the clip edges, at them and beyond, and a bias."""
    layer.build(x.shape)
    kernel = 0.8 * draw(layer.kernel.shape, seed)
    kernel.flat[:5] = [0.0, 1.0, -1.0, 1.0001, -2.0]
    layer.set_weights([kernel, draw((layer.filters,), seed + 1)][: len(layer.weights)])
    return layer


def geometry(layer):
    return {
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation": layer.dilation_rate,
        "groups": layer.groups,
    }


def expanded(layer):
    """The kernel that the paper multiplies with."""
    kernel = ops.convert_to_numpy(layer.kernel)
    return checks.alpha_signs(kernel) if layer.binarize_kernel else kernel


def naive(layer, x):
    """The layer as loops, without its activation."""
    out = checks.conv2d(
        checks.signs(x) if layer.binarize_inputs else x,
        expanded(layer),
        pad_value=1.0 if layer.binarize_inputs else 0.0,
        **geometry(layer),
    )
    return out + (ops.convert_to_numpy(layer.bias) if layer.use_bias else 0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "channels", "options"), CASES)
def test_forward_is_the_loops(size, channels, options, mode):
    x = images(size, channels)
    layer = with_weights(BinaryConv2D(FILTERS, **options, **mode), x)
    actual = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *actual.shape[1:])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "channels", "options"), CASES)
def test_equals_the_stock_layer_on_signs(size, channels, options, mode):
    """Keras's own "same" decides where the padding goes: conv(1 outside) = conv(0 outside) +
    sum(W) - conv of ones with 0 outside.
    """
    x = images(size, channels)
    layer = with_weights(BinaryConv2D(FILTERS, use_bias=False, **options, **mode), x)
    stock = keras.layers.Conv2D(FILTERS, use_bias=False, **options)
    stock.build(x.shape)
    kernel = expanded(layer).astype("float32")
    stock.set_weights([kernel])
    signed = checks.signs(x).astype("float32") if layer.binarize_inputs else x
    expected = ops.convert_to_numpy(stock(signed))
    if layer.binarize_inputs and layer.padding == "same":
        expected += kernel.sum(axis=(0, 1, 2)) - ops.convert_to_numpy(stock(np.ones_like(x)))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)


def words(bits):
    """Bits along the last axis, packed into 64-bit words; what is left over is 0."""
    filled = np.zeros((*bits.shape[:-1], -(-bits.shape[-1] // 64) * 64), bool)
    filled[..., : bits.shape[-1]] = bits
    return np.packbits(filled, axis=-1).view(np.uint64)


@pytest.mark.parametrize("channels", [1, 7, 64, 70])
@pytest.mark.parametrize("strides", [1, 2])
def test_equals_xnor_nets_bit_count(channels, strides):
    """Rastegari et al. 2016, section 3.3: a product of signs is n - 2 * popcount(x xor w)."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((2, 6, 5, channels)).astype("float32")
    layer = BinaryConv2D(3, 3, strides=strides, padding="same")
    layer.build(x.shape)
    kernel = rng.uniform(-1, 1, layer.kernel.shape).astype("float32")
    bias = np.array([0.5, -2.0, 3.0], "float32")
    layer.set_weights([kernel, bias])
    alpha = np.abs(kernel).mean(axis=(0, 1, 2))
    # One pixel around each image, of bit 1; at stride 2 a side of even length has none before it.
    before = [0 if strides == 2 and size % 2 == 0 else 1 for size in x.shape[1:3]]
    pads = [(0, 0), *((one, 1) for one in before), (0, 0)]
    image = np.pad(x >= 0, pads, constant_values=True)
    weights = words((kernel >= 0).transpose(3, 0, 1, 2).reshape(3, -1))
    actual = ops.convert_to_numpy(layer(x))
    for row, column in np.ndindex(actual.shape[1:3]):
        top, left = row * strides, column * strides
        seen = words(image[:, top : top + 3, left : left + 3].reshape(2, -1))
        differ = np.bitwise_count(seen[:, None] ^ weights[None]).sum(axis=-1, dtype=int)
        expected = (9 * channels - 2 * differ) * alpha + bias
        np.testing.assert_allclose(actual[:, row, column], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("clip_value", [1.0, 0.5])
@pytest.mark.parametrize(
    ("size", "channels", "options"),
    [CASE[name] for name in ("valid", "same-stride", "dilated", "groups")],
)
def test_gradients_are_the_papers(size, channels, options, mode, clip_value):
    """Of a stock layer that holds the binary kernel and sees the signs, times the closed forms."""
    x = images(size, channels)
    layer = with_weights(BinaryConv2D(FILTERS, clip_value=clip_value, **options, **mode), x)
    upstream = draw(layer.compute_output_shape(x.shape), seed=5)
    found = checks.layer_gradients(layer, x, upstream)

    pads = [(0, 0)] * 2
    if layer.padding == "same":
        pads = checks.same_pads(size, layer.kernel_size, layer.strides, layer.dilation_rate)
    signed = checks.signs(x).astype("float32") if layer.binarize_inputs else x
    signed = np.pad(
        signed, [(0, 0), *pads, (0, 0)], constant_values=1.0 if layer.binarize_inputs else 0.0
    )
    stock = keras.layers.Conv2D(FILTERS, **{**options, "padding": "valid"})
    stock.build(signed.shape)
    stock.set_weights([expanded(layer), ops.convert_to_numpy(layer.bias)])
    of_x, of_kernel, of_bias = checks.layer_gradients(stock, signed, upstream)
    of_x = of_x[:, pads[0][0] :, pads[1][0] :][:, : size[0], : size[1]]

    kernel = ops.convert_to_numpy(layer.kernel)
    if layer.binarize_inputs:
        of_x = of_x * (np.abs(x) <= clip_value)
    if layer.binarize_kernel:
        n = kernel.shape[0] * kernel.shape[1] * kernel.shape[2]
        alpha = np.abs(kernel).sum(axis=(0, 1, 2)) / n
        of_kernel = of_kernel * (1 / n + alpha * (np.abs(kernel) <= clip_value))
    for actual, expected in zip(found, (of_x, of_kernel, of_bias), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_activation_comes_last_and_no_bias_is_none():
    x = images((5, 5), 2)
    layer = with_weights(BinaryConv2D(FILTERS, 3, activation="relu", use_bias=False), x)
    assert layer.bias is None
    expected = np.maximum(naive(layer, x), 0)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)
    assert (expected == 0).any()


def test_parameter_counts():
    layer = BinaryConv2D(7, (3, 5))
    layer.build((None, 9, 9, 4))
    assert layer.count_params() == 3 * 5 * 4 * 7 + 7
    layer = BinaryConv2D(6, 3, groups=2, use_bias=False)
    layer.build((None, 9, 9, 4))
    assert layer.count_params() == 3 * 3 * 2 * 6


def test_config_round_trip():
    layer = BinaryConv2D(
        6,
        (3, 2),
        strides=(2, 1),
        padding="same",
        groups=2,
        activation="tanh",
        use_bias=False,
        kernel_initializer="he_normal",
        binarize_kernel=False,
        clip_value=1.5,
        name="mine",
    )
    config = layer.get_config()
    assert (config["binarize_inputs"], config["binarize_kernel"]) == (True, False)
    assert (config["clip_value"], config["padding"], config["groups"]) == (1.5, "same", 2)
    assert BinaryConv2D.from_config(config).get_config() == config


def test_from_config_keeps_the_clip():
    copy = BinaryConv2D.from_config(BinaryConv2D(2, 3, clip_value=0.7).get_config())
    assert isinstance(copy.kernel_constraint, ClipWeights)
    assert copy.kernel_constraint.clip_value == 0.7


@pytest.mark.parametrize("mode", MODES)
def test_saved_and_loaded_is_the_same(mode, tmp_path):
    keras.utils.set_random_seed(0)
    x = images((6, 6), 3)
    inputs = keras.Input((6, 6, 3))
    hidden = BinaryConv2D(4, 3, padding="same", activation="relu", **mode)(inputs)
    model = keras.Model(inputs, BinaryConv2D(2, 3, strides=2, **mode)(hidden))
    loaded = checks.save_and_load(model, tmp_path)
    assert [type(layer) for layer in loaded.layers[1:]] == [BinaryConv2D, BinaryConv2D]
    np.testing.assert_array_equal(checks.predict(loaded, x), checks.predict(model, x))


@pytest.mark.parametrize("mode", MODES)
def test_one_train_step_moves_every_weight(mode):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 5, 2)), BinaryConv2D(3, 3, padding="same", **mode)])
    before = model.get_weights()
    checks.train_one_step(model, images((5, 5), 2), draw((2, 5, 5, 3)))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert (old != new).all()


def test_latent_weights_are_clipped_after_an_update():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 5, 2)), BinaryConv2D(3, 3, clip_value=0.25)])
    checks.train_one_step(model, images((5, 5), 2), draw((2, 3, 3, 3)), learning_rate=1e4)
    kernel = np.abs(model.get_weights()[0])
    assert kernel.max() == 0.25
    assert (kernel == 0.25).mean() > 0.5


def test_constraint_is_the_users_if_given():
    layer = BinaryConv2D(2, 3, kernel_constraint="non_neg")
    assert isinstance(layer.kernel_constraint, keras.constraints.NonNeg)


def test_float_weights_are_not_clipped():
    assert BinaryConv2D(2, 3, binarize_kernel=False).kernel_constraint is None


@pytest.mark.parametrize("mode", MODES)
def test_mixed_precision(mode):
    x = images((6, 6), 2)
    half = with_weights(BinaryConv2D(3, 3, padding="same", dtype="mixed_float16", **mode), x)
    full = with_weights(BinaryConv2D(3, 3, padding="same", **mode), x)
    out = half(x)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    assert keras.backend.standardize_dtype(half.kernel.dtype) == "float32"
    expected = ops.convert_to_numpy(full(x))
    np.testing.assert_allclose(ops.convert_to_numpy(out), expected, rtol=0.01, atol=0.05)
    for gradient in checks.layer_gradients(half, x, np.ones(out.shape, "float16")):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"binarize_inputs": False, "binarize_kernel": False},
            "binarises its inputs, its kernel, or both.*binarize_kernel=False",
        ),
        ({"clip_value": 0}, "clip_value must be positive.*clip_value=0"),
        ({"clip_value": float("nan"), "binarize_kernel": False}, "positive.*clip_value=nan"),
        ({"data_format": "channels_first"}, "channels_last images.*'channels_first'"),
        ({"filters": 3, "groups": 2}, "evenly divisible"),
        ({"strides": 2, "dilation_rate": 2}, "dilation_rate"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        BinaryConv2D(**{"filters": 4, "kernel_size": 3, **options})


@pytest.mark.parametrize("size", [(6, 6), (5, 9)])
def test_unknown_sizes_work_with_stride_1(size):
    x = images(size, 2)
    layer = with_weights(BinaryConv2D(FILTERS, 3, padding="same"), x)
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, FILTERS)
    np.testing.assert_allclose(checks.predict(model, x), naive(layer, x), rtol=1e-4, atol=1e-5)


def test_unknown_sizes_with_strides_are_refused():
    inputs = keras.Input((None, 8, 2))
    with pytest.raises(ValueError, match=r"static height and width.*\(None, None, 8, 2\)"):
        BinaryConv2D(2, 3, strides=2, padding="same")(inputs)
    # Neither zero padding nor none needs to know them.
    assert BinaryConv2D(2, 3, strides=2)(inputs).shape == (None, None, 3, 2)
    floats = BinaryConv2D(2, 3, strides=2, padding="same", binarize_inputs=False)
    assert floats(inputs).shape == (None, None, 4, 2)


@pytest.mark.parametrize("activations", ["signed", "unit"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("size", "channels", "options"),
    [CASE[name] for name in ("valid", "same-stride", "dilated", "groups")],
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_lowered_is_the_layer_in_stock_layers(size, channels, options, mode, use_bias, activations):
    x = images(size, channels)
    layer = with_weights(
        BinaryConv2D(FILTERS, use_bias=use_bias, activation="tanh", **options, **mode), x
    )
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer.lower(activations)(inputs))
    assert [type(stock) for stock in model.layers if stock.weights] == [keras.layers.Conv2D]
    assert model.layers[-1].name == layer.name
    checks.assert_same(checks.predict(model, x), ops.convert_to_numpy(layer(x)))


@pytest.mark.parametrize("activations", ["signed", "unit"])
def test_lowered_kernel_is_what_a_file_can_hold(activations):
    """One magnitude for each filter, or its double."""
    x = images((5, 5), 2)
    layer = with_weights(BinaryConv2D(FILTERS, 3), x)
    inputs = keras.Input(x.shape[1:])
    kernel, _ = keras.Model(inputs, layer.lower(activations)(inputs)).get_weights()
    times = 2 if activations == "unit" else 1
    np.testing.assert_allclose(kernel, times * expanded(layer), rtol=1e-6)


def test_two_calls_of_lowered_share_their_weights():
    x, y = images((5, 5), 2), images((7, 6), 2, seed=9)
    layer = with_weights(BinaryConv2D(FILTERS, 3, padding="same"), x)
    lowered = layer.lower()
    inputs = [keras.Input(x.shape[1:]), keras.Input(y.shape[1:])]
    model = keras.Model(inputs, [lowered(each) for each in inputs])
    assert model.count_params() == layer.count_params()
    expected = [ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layer(y))]
    checks.assert_same(checks.predict(model, [x, y]), expected)


def test_lowering_doesnt_change_the_layer():
    x = images((5, 5), 2)
    layer = with_weights(BinaryConv2D(FILTERS, 3), x)
    before = layer.get_weights()
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer.lower()(inputs))
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    checks.assert_same(layer.get_weights(), before)


def test_lower_refuses_other_activations():
    layer = with_weights(BinaryConv2D(FILTERS, 3), images((5, 5), 2))
    with pytest.raises(ValueError, match="must be 'signed' or 'unit'"):
        layer.lower("int8")
