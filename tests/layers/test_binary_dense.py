import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tfcompress.layers import BinaryDense, ClipWeights

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((5,), (7,))

MODES = [
    pytest.param({"binarize_inputs": True, "binarize_kernel": True}, id="both"),
    pytest.param({"binarize_inputs": True, "binarize_kernel": False}, id="inputs"),
    pytest.param({"binarize_inputs": False, "binarize_kernel": True}, id="kernel"),
]
UNITS = 4


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def features(*shape, seed=0):
    """Features with values at 0, at the clip edges, and just beyond them."""
    x = draw(shape, seed)
    x.flat[:7] = [0.0, -0.0, 1.0, -1.0, 1.0001, -1.0001, 30.0]
    return x


def with_weights(layer, x, seed=1):
    """The layer with latent weights at 0, within the clip edges, at them and beyond, and a bias."""
    layer.build(x.shape)
    kernel = 0.8 * draw(layer.kernel.shape, seed)
    kernel.flat[:5] = [0.0, 1.0, -1.0, 1.0001, -2.0]
    layer.set_weights([kernel, draw((layer.units,), seed + 1)][: len(layer.weights)])
    return layer


def expanded(layer):
    """The kernel that the paper multiplies with."""
    kernel = ops.convert_to_numpy(layer.kernel)
    return checks.alpha_signs(kernel) if layer.binarize_kernel else kernel


def naive(layer, x):
    """The layer as loops, without its activation."""
    signed = checks.signs(x) if layer.binarize_inputs else x
    kernel = expanded(layer)
    out = np.zeros((*x.shape[:-1], layer.units))
    for at in np.ndindex(*x.shape[:-1]):
        for unit in range(layer.units):
            for channel in range(x.shape[-1]):
                out[(*at, unit)] += signed[(*at, channel)] * kernel[channel, unit]
    return out + (ops.convert_to_numpy(layer.bias) if layer.use_bias else 0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (2, 2, 2, 7)])
def test_forward_is_the_loops(shape, mode):
    x = features(*shape)
    layer = with_weights(BinaryDense(UNITS, **mode), x)
    actual = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(actual, naive(layer, x), rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *shape[1:-1], UNITS)


@pytest.mark.parametrize("mode", MODES)
def test_equals_the_stock_layer_on_signs(mode):
    x = features(6, 9)
    layer = with_weights(BinaryDense(UNITS, activation="tanh", **mode), x)
    stock = keras.layers.Dense(UNITS, activation="tanh")
    stock.build(x.shape)
    stock.set_weights([expanded(layer), ops.convert_to_numpy(layer.bias)])
    signed = checks.signs(x).astype("float32") if layer.binarize_inputs else x
    checks.assert_same(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(stock(signed)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("clip_value", [1.0, 0.5])
def test_gradients_are_the_papers(mode, clip_value):
    x = features(6, 5)
    layer = with_weights(BinaryDense(UNITS, clip_value=clip_value, **mode), x)
    upstream = draw((6, UNITS), seed=5)
    found = checks.layer_gradients(layer, x, upstream)

    signed = checks.signs(x) if layer.binarize_inputs else x
    of_x, of_kernel = upstream @ expanded(layer).T, signed.T @ upstream
    kernel = ops.convert_to_numpy(layer.kernel)
    if layer.binarize_inputs:
        of_x = of_x * (np.abs(x) <= clip_value)
    if layer.binarize_kernel:
        alpha = np.abs(kernel).sum(axis=0) / 5
        of_kernel = of_kernel * (1 / 5 + alpha * (np.abs(kernel) <= clip_value))
    for actual, expected in zip(found, (of_x, of_kernel, upstream.sum(axis=0)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_activation_comes_last_and_no_bias_is_none():
    x = features(4, 5)
    layer = with_weights(BinaryDense(UNITS, "relu", use_bias=False), x)
    assert layer.bias is None
    expected = np.maximum(naive(layer, x), 0)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)
    assert (expected == 0).any()


@pytest.mark.parametrize(("use_bias", "count"), [(True, 9 * 7 + 7), (False, 9 * 7)])
def test_parameter_counts(use_bias, count):
    layer = BinaryDense(7, use_bias=use_bias)
    layer.build((None, 3, 9))
    assert layer.count_params() == count


def test_config_round_trip():
    layer = BinaryDense(
        6,
        activation="tanh",
        use_bias=False,
        kernel_initializer="he_normal",
        binarize_inputs=False,
        clip_value=1.5,
        name="mine",
    )
    config = layer.get_config()
    assert (config["binarize_inputs"], config["binarize_kernel"]) == (False, True)
    assert (config["clip_value"], config["units"], config["use_bias"]) == (1.5, 6, False)
    copy = BinaryDense.from_config(config)
    assert copy.get_config() == config
    assert isinstance(copy.kernel_constraint, ClipWeights)
    assert copy.kernel_constraint.clip_value == 1.5


@pytest.mark.parametrize("mode", MODES)
def test_saved_and_loaded_is_the_same(mode, tmp_path):
    keras.utils.set_random_seed(0)
    x = features(4, 6)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, BinaryDense(2, **mode)(BinaryDense(5, "tanh", **mode)(inputs)))
    loaded = checks.save_and_load(model, tmp_path)
    assert [type(layer) for layer in loaded.layers[1:]] == [BinaryDense, BinaryDense]
    np.testing.assert_array_equal(checks.predict(loaded, x), checks.predict(model, x))


@pytest.mark.parametrize("mode", MODES)
def test_one_train_step_moves_every_weight(mode):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), BinaryDense(3, **mode)])
    before = model.get_weights()
    checks.train_one_step(model, features(5, 6), draw((5, 3)))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert (old != new).all()


def test_latent_weights_are_clipped_after_an_update():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), BinaryDense(3, clip_value=0.25)])
    checks.train_one_step(model, features(5, 6), draw((5, 3)), learning_rate=1e4)
    kernel = np.abs(model.get_weights()[0])
    assert kernel.max() == 0.25
    assert (kernel == 0.25).mean() > 0.5


def test_constraint_is_the_users_if_given_and_none_for_float_weights():
    layer = BinaryDense(2, kernel_constraint="non_neg")
    assert isinstance(layer.kernel_constraint, keras.constraints.NonNeg)
    assert BinaryDense(2, binarize_kernel=False).kernel_constraint is None


@pytest.mark.parametrize("mode", MODES)
def test_mixed_precision(mode):
    x = features(4, 9)
    half = with_weights(BinaryDense(3, dtype="mixed_float16", **mode), x)
    full = with_weights(BinaryDense(3, **mode), x)
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
        ({"clip_value": -1}, "clip_value must be positive.*clip_value=-1"),
        ({"clip_value": float("nan"), "binarize_kernel": False}, "positive.*clip_value=nan"),
        ({"units": 0}, "units"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        BinaryDense(**{"units": 4, **options})


@pytest.mark.parametrize("activations", ["signed", "unit"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 9), (2, 3, 9)])
def test_lowered_is_the_layer_in_stock_layers(shape, use_bias, mode, activations):
    x = features(*shape)
    layer = with_weights(BinaryDense(UNITS, "tanh", use_bias=use_bias, **mode), x)
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer.lower(activations)(inputs))
    assert [type(stock) for stock in model.layers if stock.weights] == [keras.layers.Dense]
    assert model.layers[-1].name == layer.name
    checks.assert_same(checks.predict(model, x), ops.convert_to_numpy(layer(x)))


def test_two_calls_of_lowered_share_their_weights():
    x, y = features(3, 5), features(2, 5, seed=9)
    layer = with_weights(BinaryDense(UNITS), x)
    lowered = layer.lower()
    inputs = [keras.Input((5,)), keras.Input((5,))]
    model = keras.Model(inputs, [lowered(each) for each in inputs])
    assert model.count_params() == layer.count_params()
    expected = [ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layer(y))]
    checks.assert_same(checks.predict(model, [x, y]), expected)


def test_lower_refuses_other_activations():
    layer = with_weights(BinaryDense(UNITS), features(3, 5))
    with pytest.raises(ValueError, match="must be 'signed' or 'unit'"):
        layer.lower("int8")


def test_two_bits_of_input():
    x = np.random.default_rng(3).normal(size=(4, 9)).astype("float32")
    layer = BinaryDense(3, input_bits=2)
    layer.build(x.shape)
    kernel = np.random.default_rng(4).normal(size=(9, 3)).astype("float32")
    layer.set_weights([kernel, np.array([1, 2, 3], "float32"), np.float32(0.5)])
    levels = np.clip(np.floor(x / 0.5 + 0.5), 0, 3)
    expected = 0.5 * levels @ checks.alpha_signs(kernel) + [1, 2, 3]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)
    inputs = keras.Input((9,))
    model = keras.Model(inputs, layer.lower("unit")(inputs))
    checks.assert_same(checks.predict(model, x), ops.convert_to_numpy(layer(x)))
