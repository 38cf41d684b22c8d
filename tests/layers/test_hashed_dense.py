import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests import checks
from tests.layers import compact
from tests.ops.test_hashing import elementwise, permutation
from tfcompress import graph
from tfcompress.layers import HashedConv2D, HashedDense
from tfcompress.ops import hashing

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((16,), (40,))

KINDS = ["permutation", "elementwise"]
# Inputs, units, ratio; units that 1 / ratio divides and that it doesn't, and fewer than it.
CASES = [(6, 8, 1 / 4), (5, 7, 1 / 3), (9, 3, 1 / 8), (4, 16, 1.0)]

each_kind = pytest.mark.parametrize("kind", KINDS)
each_case = pytest.mark.parametrize(("inputs", "units", "ratio"), CASES)
draw = compact.draw


def make(kind, inputs, units, ratio, **options):
    layer = HashedDense(units, compression_ratio=ratio, hashing=kind, hash_seed=5, **options)
    layer.build((None, inputs))
    layer.set_weights([draw(w.shape, seed) for seed, w in enumerate(layer.weights, start=1)])
    return layer


def naive_kernel(layer, inputs):
    weights = ops.convert_to_numpy(layer.kernel)
    if layer.hashing == "elementwise":
        return elementwise(weights, inputs, layer.units, layer.hash_seed)
    blocks = math.ceil(layer.units / weights.shape[1])
    return permutation(weights, inputs, layer.units, blocks, layer.hash_seed)[0]


def naive_bias(layer):
    if not layer.use_bias:
        return 0.0
    bias = ops.convert_to_numpy(layer.bias)
    return elementwise(bias, 1, layer.units, layer.hash_seed)[0] if layer.hash_bias else bias


@each_kind
@each_case
@pytest.mark.parametrize("options", [{}, {"hash_bias": True}, {"use_bias": False}])
def test_forward_is_the_loops(inputs, units, ratio, kind, options):
    layer = make(kind, inputs, units, ratio, activation="relu", **options)
    x = draw((3, inputs))
    kernel, bias = naive_kernel(layer, inputs), naive_bias(layer)
    expected = np.zeros((3, units))
    for row in range(3):
        for unit in range(units):
            total = sum(x[row, i] * kernel[i, unit] for i in range(inputs))
            expected[row, unit] = max(0.0, total + np.broadcast_to(bias, units)[unit])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape((None, 4, inputs)) == (None, 4, units)


@each_kind
@each_case
def test_equals_the_stock_layer_with_the_expanded_kernel(inputs, units, ratio, kind):
    layer = make(kind, inputs, units, ratio, hash_bias=True)
    stock = keras.layers.Dense(units)
    stock.build((None, inputs))
    stock.set_weights([ops.convert_to_numpy(layer.logical_kernel()), naive_bias(layer)])
    for shape in ((4, inputs), (2, 3, inputs), (2, 1, 3, inputs), (1, inputs)):
        x = draw(shape)
        checks.assert_same(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(stock(x)))


@each_kind
@each_case
@pytest.mark.parametrize("gradient_scale", [None, 1.0, 0.3])
def test_gradients_are_the_closed_form(inputs, units, ratio, kind, gradient_scale):
    """Sums over the places of a stored weight, which its expansion alone shows, times the scale."""
    layer = make(kind, inputs, units, ratio, hash_bias=True, gradient_scale=gradient_scale)
    x, upstream = draw((3, inputs), 7), draw((3, units), 8)
    of_x, of_kernel, of_bias = checks.layer_gradients(layer, x, upstream)
    scale = gradient_scale or math.sqrt(ratio)
    np.testing.assert_allclose(of_x, upstream @ naive_kernel(layer, inputs).T, rtol=1e-4, atol=1e-4)
    for weight, found, whole, naive in (
        (layer.kernel, of_kernel, x.T @ upstream, lambda: naive_kernel(layer, inputs)),
        (layer.bias, of_bias, upstream.sum(0), lambda: naive_bias(layer)),
    ):
        expected = np.zeros(weight.shape)
        for index in np.ndindex(*weight.shape):
            alone = np.zeros(weight.shape, "float32")
            alone[index] = 1
            weight.assign(alone)
            expected[index] = scale * (naive() * whole).sum()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_each_stored_weight_is_used_as_often_as_the_ratio_says():
    layer = make("permutation", 6, 24, 1 / 8, use_bias=False)
    layer.set_weights([np.arange(1, 19).reshape(6, 3)])
    values, counts = np.unique(
        np.abs(ops.convert_to_numpy(layer.logical_kernel())), return_counts=True
    )
    assert values.tolist() == list(range(1, 19))
    assert counts.tolist() == [8] * 18


def test_parameter_counts():
    def count(units, **options):
        layer = HashedDense(units, **options)
        layer.build((None, 40))
        return layer.count_params()

    assert count(16) == 40 * 2 + 16
    assert count(16, hash_bias=True) == 40 * 2 + 2
    assert count(16, hashing="elementwise", hash_bias=True) == 40 * 16 // 8 + 2
    assert count(10, compression_ratio=1 / 4, use_bias=False) == 40 * 3
    assert count(10, compression_ratio=1 / 3, hashing="elementwise") == round(400 / 3) + 10
    assert count(3, compression_ratio=1 / 64, hash_bias=True) == 40 + 1
    assert count(3, compression_ratio=1 / 1000, hashing="elementwise") == 1 + 3


def test_the_2017_study_of_vgg_s():
    """Three dense layers at 1/8, biases too: 68.3 MiB, 81.64% fewer weights."""
    whole = 97_571_944  # Of models.build("vgg_s", (224, 224, 3), 8).
    dense = [(512 * 6 * 6, 4048), (4048, 4048), (4048, 8)]
    for kind in KINDS:
        left = whole
        for inputs, units in dense:
            if kind == "elementwise":
                stored = hashing.bucket_count(1 / 8, inputs * units)
            else:
                stored = math.prod(hashing.PermutationHash(inputs, units, 1 / 8, 0).stored_shape)
            biases = hashing.bucket_count(1 / 8, units)
            assert (stored, biases) == (inputs * units // 8, units // 8)
            left += stored + biases - (inputs + 1) * units
        assert left == 17_912_357
    assert round(left * 4 / 2**20, 2) == 68.33
    assert round(100 * (1 - left / whole), 2) == 81.64


@each_kind
def test_macs_are_the_logical_layers(kind):
    inputs = keras.Input((3, 10))
    model = keras.Model(inputs, HashedDense(16, hashing=kind)(inputs))
    assert graph.macs(model) == 3 * 10 * 16


@each_kind
def test_variance_is_the_logical_layers(kind):
    keras.utils.set_random_seed(0)
    layer = HashedDense(256, compression_ratio=1 / 16, hashing=kind)
    layer.build((None, 512))
    stored = ops.convert_to_numpy(layer.kernel)
    limit = math.sqrt(6 / (512 + 256))  # Glorot and Bengio 2010.
    assert np.abs(stored).max() <= limit
    assert stored.std() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    assert ops.convert_to_numpy(layer.logical_kernel()).std() == pytest.approx(
        limit / math.sqrt(3), rel=0.03
    )


@each_kind
def test_projection(kind):
    layer = make(kind, 6, 8, 1 / 4, hash_bias=True)
    before = layer.get_weights()
    kernel, bias = ops.convert_to_numpy(layer.logical_kernel()), naive_bias(layer)
    layer.set_weights([np.zeros_like(w) for w in before])
    layer.project(kernel, bias)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), kernel, rtol=1e-5)
    np.testing.assert_allclose(naive_bias(layer), bias, rtol=1e-5)
    layer.project(kernel)
    assert (naive_bias(layer) == 0).all()


def test_config_round_trip():
    layer = HashedDense(
        6,
        activation="tanh",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer="l2",
        compression_ratio=1 / 5,
        hashing="elementwise",
        hash_seed=9,
        hash_bias=True,
        gradient_scale=0.5,
        name="mine",
    )
    compact.assert_config_round_trip(layer)
    config = layer.get_config()
    assert (config["compression_ratio"], config["hashing"]) == (0.2, "elementwise")
    assert (config["hash_seed"], config["hash_bias"], config["gradient_scale"]) == (9, True, 0.5)


@each_kind
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    layer = make(kind, 6, 8, 1 / 4, hash_bias=True, activation="relu")
    compact.assert_same_after_saving(layer, draw((3, 6)), tmp_path)


@each_kind
@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_one_train_step_moves_every_weight(kind, regularizer):
    keras.utils.set_random_seed(0)
    options = {"hashing": kind, "compression_ratio": 1 / 8}  # No bucket is empty.
    first = HashedDense(24, kernel_regularizer=regularizer, **options)
    model = keras.Sequential([first, HashedDense(8, hash_bias=True, **options)])
    model.build((None, 10))
    before = model.get_weights()
    checks.train_one_step(model, draw((6, 10)), draw((6, 8), 1))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert (old != new).all()


@each_kind
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(kind, dtype):
    half = make(kind, 10, 8, 1 / 4, hash_bias=True, dtype=dtype)
    full = make(kind, 10, 8, 1 / 4, hash_bias=True)
    x = draw((4, 10))
    out = half(x)
    assert keras.backend.standardize_dtype(out.dtype) == dtype.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(half.kernel.dtype) == "float32"
    out = ops.convert_to_numpy(ops.cast(out, "float32"))
    np.testing.assert_allclose(out, ops.convert_to_numpy(full(x)), rtol=0.05, atol=0.2)
    model = keras.Sequential([keras.Input((10,)), half])
    before = model.get_weights()
    checks.train_one_step(model, x, draw((4, 8), 3))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)


@each_kind
@pytest.mark.parametrize("units", [24, 22])
@pytest.mark.parametrize("options", [{}, {"hash_bias": True}, {"use_bias": False}])
def test_lowered_is_the_layer_in_stock_layers(kind, units, options):
    layer = make(kind, 10, units, 1 / 4, activation="tanh", **options)
    model = compact.assert_lowered_is_the_same(layer, draw((3, 10)))
    (dense,) = [stock for stock in model.layers if stock.weights]
    assert type(dense) is keras.layers.Dense
    assert dense.name == layer.name
    assert dense.kernel.shape == (10, 6 if kind == "permutation" else units)
    compact.assert_lowered_is_the_same(layer, draw((2, 3, 10)))


def test_lowered_to_the_smaller_file():
    """8 units from one stored column: 8 positions a row are more than the 8 weights, less 1."""
    layer = make("permutation", 10, 8, 1 / 8)
    model = compact.assert_lowered_is_the_same(layer, draw((3, 10)))
    assert [stock.kernel.shape for stock in model.layers if stock.weights] == [(10, 8)]


def test_lower_needs_known_sizes():
    layer = make("permutation", 10, 24, 1 / 4)
    with pytest.raises(ValueError, match=r"only the batch's may be unknown.*\(None, None, 10\)"):
        layer.lower()(keras.Input((None, 10)))
    # Training doesn't.
    inputs = keras.Input((None, 10))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, 24)
    assert checks.predict(model, draw((2, 3, 10))).shape == (2, 3, 24)


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="an export takes TensorFlow")
@each_kind
def test_exported_file_is_the_same_and_small(kind, tmp_path):
    layer = make(kind, 300, 240, 1 / 8, activation="relu")
    written = compact.assert_export_is_the_same(layer, draw((5, 300)), tmp_path)
    # Stored weights, and biases; positions of 8 blocks, or the two signs.
    signs = 0 if kind == "permutation" else 2
    assert written.weight_bytes["float32"] == 4 * (300 * 240 / 8 + 240 + signs)
    assert written.weight_bytes["int32"] < (4 * 300 * 8 if kind == "permutation" else 0) + 100
    assert written.size_bytes < 4 * 300 * 240 / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression_ratio": 0}, "above 0 and at most 1.*compression_ratio=0"),
        ({"compression_ratio": 0.3}, "1 by a whole number.*compression_ratio=0.3"),
        ({"hashing": "random"}, "'permutation' or 'elementwise'.*hashing='random'"),
        ({"hash_seed": -1}, "hash_seed must be a whole number.*hash_seed=-1"),
        ({"hash_seed": 0.5}, "hash_seed must be a whole number.*hash_seed=0.5"),
        ({"gradient_scale": 0.0}, "gradient_scale must be a positive.*gradient_scale=0.0"),
        ({"lora_rank": 2}, "LoRA isn't available.*lora_rank=2"),
        ({"units": 0}, "units"),
    ],
)
@pytest.mark.parametrize("kind", [HashedDense, HashedConv2D])
def test_bad_arguments(kind, options, message):
    if kind is HashedConv2D:
        options = {"kernel_size": 3, "filters": 4, **options}
        if "units" in options:
            options["filters"] = options.pop("units")
            message = "filters"
    with pytest.raises(ValueError, match=message):
        kind(**{**({"units": 4} if kind is HashedDense else {}), **options})


def test_lora_and_quantisation_are_refused():
    layer = make("permutation", 10, 8, 1 / 4)
    with pytest.raises(NotImplementedError, match="LoRA isn't available"):
        layer.enable_lora(2)
    with pytest.raises(NotImplementedError):
        layer.quantize("int8")


@settings(deadline=None, max_examples=15)
@given(
    kind=st.sampled_from(KINDS),
    inputs=st.integers(1, 12),
    units=st.integers(1, 20),
    times=st.integers(1, 24),
)
def test_any_size(kind, inputs, units, times):
    layer = make(kind, inputs, units, 1 / times)
    x = draw((2, inputs))
    expected = x @ naive_kernel(layer, inputs) + naive_bias(layer)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_default_scale_keeps_sgd_from_diverging():
    """A stored weight sums the gradients of 64 logical ones."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (256, 64)).astype("float32")
    y = np.argmax(x @ rng.standard_normal((64, 4)), 1)

    def loss(**options):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((64,))
        hidden = HashedDense(256, activation="relu", **options)(inputs)
        model = keras.Model(inputs, HashedDense(4, **options)(hidden))
        model.compile(
            keras.optimizers.SGD(0.2, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        history = model.fit(x, y, batch_size=64, epochs=12, verbose=0, shuffle=False)
        return history.history["loss"][-1]

    options = {"compression_ratio": 1 / 64, "hashing": "elementwise"}
    scaled, plain = loss(**options), loss(**options, gradient_scale=1.0)
    assert scaled < 1.3
    assert not plain < 5 * scaled
