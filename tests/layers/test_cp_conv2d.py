"""CPConv2D's formulas and counts; what all factorised convolutions do is tested with them."""

import keras
import numpy as np
import pytest
from keras import ops

from tests import checks
from tests.layers.test_factorised_conv2d import draw, with_weights
from tfcompress import graph, models, techniques
from tfcompress.layers import CPConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 4), (6, 6, 16))


def weights(layer):
    return [ops.convert_to_numpy(w).astype("float64") for w in layer.weights]


def test_kernel_is_the_sum_of_its_components():
    layer = with_weights(CPConv2D(6, (3, 2), rank=5), 4)
    p, a, b, q, _ = weights(layer)
    expected = np.zeros((3, 2, 4, 6))
    for i in range(3):
        for j in range(2):
            for r in range(5):
                expected[i, j] += (
                    a[i, 0, r, 0] * b[0, j, r, 0] * np.outer(p[0, 0, :, r], q[0, 0, r])
                )
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-5)


@pytest.mark.parametrize("strides", [1, 2])
def test_forward_is_four_convolutions(strides):
    """1x1, vertical, horizontal, 1x1, each by loops: section 3.3 of the paper."""
    x = draw((2, 7, 8, 4))
    layer = with_weights(CPConv2D(6, 3, rank=5, strides=strides), 4)
    p, a, b, q, bias = weights(layer)
    inner = checks.conv2d(x, p)
    inner = checks.conv2d(inner, a.transpose(0, 1, 3, 2), groups=5)
    inner = checks.conv2d(inner, b.transpose(0, 1, 3, 2), groups=5)
    expected = checks.conv2d(inner[:, ::strides, ::strides], q) + bias
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kernel_size", "strides", "kinds"),
    [
        (3, 1, ["Conv2D", "DepthwiseConv2D", "DepthwiseConv2D", "Conv2D"]),
        (3, 2, ["Conv2D", "DepthwiseConv2D", "Conv2D"]),
        ((1, 3), 1, ["Conv2D", "DepthwiseConv2D", "Conv2D"]),
        (1, 2, ["Conv2D", "Conv2D"]),
    ],
)
def test_lowered_steps(kernel_size, strides, kinds):
    layer = with_weights(CPConv2D(6, kernel_size, rank=3, strides=strides, name="mine"), 4)
    inputs = keras.Input((7, 7, 4))
    steps = keras.Model(inputs, layer.lower()(inputs)).layers[1:]
    assert [type(step).__name__ for step in steps] == kinds
    assert steps[0].name == "mine_in"
    assert steps[-1].name == "mine"


@pytest.mark.parametrize(("channels", "filters", "taps", "rank"), [(48, 128, 5, 64), (8, 6, 3, 2)])
def test_operations_per_pixel(channels, filters, taps, rank):
    """K (C + 2d + N), as the survey of Lebedev and Lempitsky has it."""
    layer = CPConv2D(filters, taps, rank=rank, padding="same")
    shape = (None, 10, 9, channels)
    per_pixel = rank * (channels + 2 * taps + filters)
    assert layer.macs(shape, layer.compute_output_shape(shape)) == 10 * 9 * per_pixel
    assert layer.kernel_parameters((taps, taps, channels, filters)) == per_pixel


def test_operations_with_strides():
    """1x1 on all pixels, then one 3x3 depthwise and 1x1 on a quarter."""
    layer = CPConv2D(16, 3, rank=4, strides=2, padding="same")
    assert layer.macs((None, 8, 8, 12), (None, 4, 4, 16)) == 64 * 12 * 4 + 16 * (9 * 4 + 4 * 16)


def test_parameter_count():
    layer = CPConv2D(7, (3, 5), rank=2)
    layer.build((None, 9, 9, 4))
    assert layer.count_params() == 2 * (4 + 3 + 5 + 7) + 7


def test_squeezenet_with_its_last_two_spatial_convolutions_at_rank_192():
    """Rassadin and Savchenko 2017, table 1: 23.5% fewer parameters, 2.1 MiB, 8 classes."""
    model = models.build("squeezenet", (224, 224, 3), 8)
    technique = techniques.get("cp")
    options = technique.make_options(
        ranks={"fire8_expand3x3": 192, "fire9_expand3x3": 192}, iterations=1
    )
    thin = technique.transform(techniques.Candidate(model), options).model
    full, cp = 9 * 64 * 256, 192 * (64 + 3 + 3 + 256)
    before, after = graph.parameters(model), graph.parameters(thin)
    assert (before, after) == (726_600, 726_600 - 2 * (full - cp))
    # With biases 23.36%, without them 23.45%.
    biases = sum(int(np.prod(w.shape)) for w in model.trainable_weights if w.name == "bias")
    assert biases == 2_952
    assert round(100 * (before - after) / before, 2) == 23.36
    assert round(100 * (before - after) / (before - biases), 2) == 23.45
    assert round(4 * after / 2**20, 1) == 2.1
