"""TTDense's formula and counts; what it has in common with LowRankDense is tested with that."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.layers.test_low_rank_dense import with_weights
from tfcompress.layers import TTDense

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = ((6, 2), (12,))


def test_kernel_is_the_product_of_its_cores():
    layer = with_weights(TTDense(12, rank=2, input_modes=(2, 2, 3), output_modes=(3, 2, 2)), 12)
    shapes = [(1, 2, 3, 2), (2, 2, 2, 2), (2, 3, 2, 1)]  # (bond, m, n, next bond)
    cores = [w.reshape(s).astype("f8") for w, s in zip(layer.get_weights(), shapes, strict=False)]
    expected = np.zeros((12, 12))
    for i1, i2, i3, j1, j2, j3 in np.ndindex(2, 2, 3, 3, 2, 2):
        value = cores[0][:, i1, j1] @ cores[1][:, i2, j2] @ cores[2][:, i3, j3]
        expected[6 * i1 + 3 * i2 + i3, 4 * j1 + 2 * j2 + j3] = value.item()
    np.testing.assert_allclose(ops.convert_to_numpy(layer.logical_kernel()), expected, atol=1e-5)


def test_counts_of_the_papers_layer():
    """Novikov et al. 2015, section 6.1: 1024x1024 as 4^5 by 4^5 at rank 8 is 3,328 weights."""
    layer = TTDense(1024, rank=8, input_modes=(4,) * 5, output_modes=(4,) * 5)
    layer.build((None, 1024))
    kernel = 16 * 8 + 3 * 8 * 16 * 8 + 8 * 16
    assert layer.count_params() == kernel + 1024 == 3_328 + 1024
    assert layer.kernel_parameters((1024, 1024)) == kernel
    ends, inner = 256 * 16 * 8, 256 * 8 * 16 * 8
    assert layer.macs((None, 1024), (None, 1024)) == 2 * ends + 3 * inner


def test_bonds_are_no_larger_than_needed():
    layer = TTDense(8, rank=100, input_modes=(2, 2, 2), output_modes=(2, 2, 2))
    assert [shape[3] for shape in layer.core_shapes(8)] == [4, 4, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_modes": (2, 4)}, r"their product 6.*output_modes=\(2, 4\)"),
        ({"input_modes": (2, 2), "output_modes": (1, 2, 3)}, "as many as input_modes"),
        ({"output_modes": (6, 0)}, "output_modes must be"),
    ],
)
def test_bad_modes(options, message):
    with pytest.raises(ValueError, match=message):
        TTDense(6, rank=2, **options)


def test_modes_must_fit_the_inputs():
    with pytest.raises(ValueError, match=r"product of input_modes=\(2, 2\).*\(1, 8\)"):
        TTDense(6, rank=2, input_modes=(2, 2))(np.ones((1, 8), "f4"))


@pytest.mark.parametrize("rank", [1, 4, 100])
def test_starts_with_glorots_variance(rank):
    """The logical kernel's values at the start: of variance 2 / (inputs + units)."""
    variances = []
    for seed in range(20):
        keras.utils.set_random_seed(seed)
        layer = TTDense(64, rank=rank, input_modes=(8, 12), output_modes=(8, 8))
        layer.build((None, 96))
        variances.append(float(np.var(ops.convert_to_numpy(layer.logical_kernel()))))
    assert np.mean(variances) == pytest.approx(2 / (96 + 64), rel=0.3)
