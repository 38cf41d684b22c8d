import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tests import checks
from tfcompress.ops import binarize

SHAPES = st.lists(st.integers(1, 5), min_size=2, max_size=4)
SEEDS = st.integers(0, 2**32 - 1)
# JAX compiles every operation again for each new shape.
EXAMPLES = 8 if keras.backend.backend() == "jax" else 25
QUICK = settings(max_examples=EXAMPLES, deadline=None, derandomize=True)


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_sign_of_zero_is_plus_one():
    x = np.array([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0], "float32")
    np.testing.assert_array_equal(
        numpy(binarize.sign(ops.convert_to_tensor(x))), [-1, -1, 1, 1, 1, 1]
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_types_stay(dtype):
    x = ops.cast([-1.5, 0.0, 2.0], dtype)
    kernel = ops.cast([[-1.5, 0.5], [0.5, 2.0]], dtype)
    for result in (
        binarize.sign(x),
        binarize.ste_sign(x),
        binarize.bits(x, "unit"),
        binarize.kernel_scale(kernel),
        binarize.binary_kernel(kernel),
    ):
        assert keras.backend.standardize_dtype(result.dtype) == dtype


@QUICK
@given(SHAPES, SEEDS)
def test_sign_is_idempotent_and_keeps_the_shape(shape, seed):
    x = ops.convert_to_tensor(draw(shape, seed))
    once = binarize.sign(x)
    assert tuple(once.shape) == tuple(shape)
    np.testing.assert_array_equal(numpy(binarize.sign(once)), numpy(once))
    np.testing.assert_array_equal(numpy(binarize.ste_sign(x)), numpy(once))
    np.testing.assert_array_equal(numpy(once), checks.signs(numpy(x)))


# At 0, just inside, exactly at, just beyond the clip edges, and far away.
EDGES = np.array(
    [-50, -1.0001, -1, -0.9999, -0.5, -0.0, 0.0, 0.5, 0.9999, 1, 1.0001, 50], "float32"
)
INSIDE = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], "float32")


def test_straight_through_gradient_at_zero_at_the_edges_and_beyond():
    upstream = np.arange(1, 13, dtype="float32")
    (gradient,) = checks.gradients(lambda x: ops.sum(binarize.ste_sign(x) * upstream), EDGES)
    np.testing.assert_array_equal(gradient, upstream * INSIDE)


@pytest.mark.parametrize(
    ("clip_value", "passes"),
    [(0.5, abs(EDGES) <= 0.5), (2.0, abs(EDGES) <= 2), (float("inf"), np.ones(12, bool))],
)
def test_straight_through_gradient_with_other_clip_values(clip_value, passes):
    (gradient,) = checks.gradients(lambda x: ops.sum(binarize.ste_sign(x, clip_value)), EDGES)
    np.testing.assert_array_equal(gradient, passes)


def test_sign_itself_has_no_gradient():
    (gradient,) = checks.gradients(lambda x: ops.sum(binarize.sign(x) * x), EDGES)
    np.testing.assert_array_equal(gradient, checks.signs(EDGES))  # of the factor x alone


def test_kernel_scale_by_hand():
    kernel = np.array([[1.0, -2.0], [-3.0, 0.0]], "float32")
    np.testing.assert_allclose(numpy(binarize.kernel_scale(kernel)), [2.0, 1.0])
    np.testing.assert_allclose(
        numpy(binarize.binary_values(ops.convert_to_tensor(kernel))), [[2.0, -1.0], [-2.0, 1.0]]
    )


@QUICK
@given(SHAPES, SEEDS)
def test_binary_kernel_has_each_filters_mean_magnitude(shape, seed):
    kernel = draw(shape, seed)
    binary = numpy(binarize.binary_kernel(ops.convert_to_tensor(kernel)))
    np.testing.assert_allclose(binary, checks.alpha_signs(kernel), rtol=1e-5)
    magnitude = np.abs(kernel).reshape(-1, shape[-1]).mean(axis=0)
    np.testing.assert_allclose(np.abs(binary), np.broadcast_to(magnitude, shape), rtol=1e-5)


@QUICK
@given(SHAPES, SEEDS)
def test_kernel_scale_is_the_best_scale(shape, seed):
    """No other scale of the signs is nearer to the filter: the derivative there is 0."""
    kernel = draw(shape, seed)
    residue = kernel - numpy(binarize.binary_values(ops.convert_to_tensor(kernel)))
    slope = (residue * checks.signs(kernel)).reshape(-1, shape[-1]).sum(axis=0)
    np.testing.assert_allclose(slope, 0, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 3, 2, 4), (6, 5)])
@pytest.mark.parametrize("clip_value", [1.0, 0.5])
def test_kernel_gradient_is_the_papers(shape, clip_value):
    kernel = draw(shape)
    kernel.flat[:4] = [0.0, clip_value, -clip_value, 3.0]
    upstream = draw(shape, 1)
    (gradient,) = checks.gradients(
        lambda w: ops.sum(binarize.binary_kernel(w, clip_value) * upstream), kernel
    )
    n = kernel.size / shape[-1]
    alpha = np.abs(kernel).reshape(-1, shape[-1]).sum(axis=0) / n
    expected = upstream * (1 / n + alpha * (np.abs(kernel) <= clip_value))
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_a_variable_is_binarised_eagerly():
    kernel = keras.Variable(draw((4, 3)))
    np.testing.assert_allclose(
        numpy(binarize.binary_kernel(kernel)), checks.alpha_signs(numpy(kernel)), rtol=1e-6
    )


def test_bits_are_signed_or_unit():
    x = ops.convert_to_tensor(EDGES)
    np.testing.assert_array_equal(numpy(binarize.bits(x, "signed")), checks.signs(EDGES))
    np.testing.assert_array_equal(numpy(binarize.bits(x, "unit")), EDGES >= 0)


@QUICK
@given(st.integers(1, 6), SHAPES, SEEDS, st.booleans())
def test_unit_weights_give_the_same_sums(count, shape, seed, use_bias):
    """sign(x) @ W + b == u @ (2W) + b' for u in {0, 1}."""
    kernel = draw(shape, seed)
    bias = draw(shape[-1:], seed + 1) if use_bias else None
    x = draw((count, *shape[:-1]), seed + 2)
    unit_kernel, unit_bias = binarize.unit_weights(kernel, bias, "unit")
    flat, filters = (count, -1), (-1, shape[-1])
    signed = checks.signs(x).reshape(flat) @ kernel.reshape(filters)
    signed = signed + (bias if use_bias else 0)
    unit = (x >= 0).reshape(flat) @ unit_kernel.reshape(filters) + unit_bias
    np.testing.assert_allclose(unit, signed, rtol=1e-4, atol=1e-4)
    assert unit_kernel.shape == kernel.shape
    assert unit_bias.shape == (shape[-1],)


@pytest.mark.parametrize("bias", [None, np.array([1.0, 2.0])])
def test_signed_weights_stay(bias):
    kernel = draw((3, 2))
    assert binarize.unit_weights(kernel, bias, "signed") == (kernel, bias)


def test_unknown_activations():
    with pytest.raises(ValueError, match=r"must be 'signed' or 'unit'.*activations='sined'"):
        binarize.unit_weights(draw((3, 2)), None, "sined")
