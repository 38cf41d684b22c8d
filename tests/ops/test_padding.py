"""The arithmetic of `padding`, against JAX's own: its pads, and its convolution."""

import itertools

import jax
import numpy as np
import pytest

from tests import checks
from tfcompress.ops.padding import output_length, same_pads, window_reach

GEOMETRIES = list(itertools.product([1, 2, 3, 6, 7, 8, 11], [1, 2, 3, 4, 5], [1, 2, 3], [1, 2, 3]))


def test_same_pads_are_jaxs():
    for size, kernel, stride, dilation in GEOMETRIES:
        reach = (kernel - 1) * dilation + 1
        expected = jax.lax.padtype_to_pads((size,), (reach,), (stride,), "SAME")
        assert [same_pads(size, kernel, stride, dilation)] == expected, (size, kernel, stride)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_output_length_is_the_length_of_jaxs_convolution(padding):
    for size, kernel, stride, dilation in GEOMETRIES:
        if padding == "valid" and size < (kernel - 1) * dilation + 1:
            assert output_length(size, kernel, stride, padding, dilation) < 1
            continue
        shape = jax.eval_shape(
            lambda x, w, stride=stride, dilation=dilation: jax.lax.conv_general_dilated(
                x, w, (stride,), padding.upper(), rhs_dilation=(dilation,)
            ),
            jax.ShapeDtypeStruct((1, 1, size), np.float32),
            jax.ShapeDtypeStruct((1, 1, kernel), np.float32),
        ).shape
        assert output_length(size, kernel, stride, padding, dilation) == shape[2]


def test_window_reach():
    assert [window_reach(*how) for how in ((1,), (3,), (1, 4), (3, 2), (2, 5))] == [1, 3, 1, 5, 6]


@pytest.mark.parametrize("size", [(7, 6), (8, 9)])
@pytest.mark.parametrize("kernel_size", [(3, 3), (2, 5)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (3, 1)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (1, 3)])
def test_the_naive_convolution_of_the_tests_is_jaxs(size, kernel_size, strides, dilation):
    """`checks.conv2d`, which the layers' tests trust, against a convolution from outside."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 3)).astype("float32")
    kernel = rng.normal(size=(*kernel_size, 3, 4)).astype("float32")
    expected = jax.lax.conv_general_dilated(
        x,
        kernel,
        strides,
        "SAME",
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    got = checks.conv2d(x, kernel, strides=strides, padding="same", dilation=dilation)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    pads = [same_pads(*axis) for axis in zip(size, kernel_size, strides, dilation, strict=True)]
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    valid = checks.conv2d(padded, kernel, strides=strides, dilation=dilation)
    np.testing.assert_allclose(valid, expected, atol=1e-4)
