"""BiclusteredConv2D's formula and counts; what all such layers do is tested with them."""

import numpy as np
import pytest
from keras import ops

from tests.layers.test_factorised_conv2d import with_weights
from tfcompress.layers import BiclusteredConv2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((8, 3, 2), (6, 6, 16))


def test_kernel_is_the_sum_of_each_blocks_outer_products():
    layer = with_weights(
        BiclusteredConv2D(5, (3, 2), rank=2, input_clusters=2, output_clusters=3), 4
    )
    layer.input_cluster.assign([1, 0, 1, 1])
    layer.output_cluster.assign([2, 0, 1, 2, 0])
    p, s, q, _, inputs, outputs = (ops.convert_to_numpy(w).astype("f8") for w in layer.weights)
    p, q = p.reshape(4, 3, 2), q.reshape(2, 2, 5)
    s = s.reshape(3, 2, 2, 3, 2)
    expected = np.zeros((3, 2, 4, 5))
    for c in range(4):
        for n in range(5):
            g, h = int(inputs[c]), int(outputs[n])
            for k in range(2):
                expected[:, :, c, n] += p[c, h, k] * s[:, :, g, h, k] * q[g, k, n]
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-5)


def test_operations_and_weights():
    layer = BiclusteredConv2D(64, 3, rank=5, padding="same", input_clusters=4)
    per_pixel = (32 + 9 + 64) * 4 * 2 * 5
    assert layer.macs((None, 10, 9, 32), (None, 10, 9, 64)) == 10 * 9 * per_pixel
    per_pixel = (32 / 4 + 9 + 64 / 2) * 4 * 2 * 5
    assert layer.macs_without_zeros((None, 10, 9, 32), (None, 10, 9, 64)) == 10 * 9 * per_pixel
    weights = 32 * 2 * 5 + 9 * 4 * 2 * 5 + 4 * 5 * 64
    assert layer.kernel_parameters((3, 3, 32, 64)) == weights


@pytest.mark.parametrize("name", ["input_clusters", "output_clusters"])
def test_bad_clusters(name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number, 1 or more.*{name}=0"):
        BiclusteredConv2D(4, 3, rank=2, **{name: 0})
