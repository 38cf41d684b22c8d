import numpy as np
import pytest

from tests import checks
from tests.layers import compact
from tests.layers.compact import draw, predict
from tfcompress.layers import NearestFill2D

# Arguments of the layer and the shape of an input, for test_anywhere.py.
ANYWHERE = (([0, 0, 1, 5], [2, 3, 3]), (6, 6, 2))
ROWS, COLUMNS = [0, 0, 2], [1, 1, 0, 2]


def test_forward_and_lowered():
    x = draw((2, 3, 3, 2))
    expected = x[:, ROWS][:, :, COLUMNS]
    layer = NearestFill2D(ROWS, COLUMNS)
    np.testing.assert_array_equal(predict(layer, x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    compact.assert_lowered_is_the_same(layer, x)


def test_gradient_is_the_sum_over_the_copies():
    x, upstream = draw((1, 3, 3, 2)), draw((1, 3, 4, 2), seed=1)
    layer = compact.with_weights(NearestFill2D(ROWS, COLUMNS), x)
    (gradient,) = checks.layer_gradients(layer, x, upstream)
    expected = np.zeros_like(x)
    for row, column in np.ndindex(3, 4):
        expected[:, ROWS[row], COLUMNS[column]] += upstream[:, row, column]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_config_saving_and_precision(tmp_path):
    x = draw((2, 3, 3, 2))
    compact.assert_config_round_trip(NearestFill2D(ROWS, COLUMNS))
    compact.assert_same_after_saving(NearestFill2D(ROWS, COLUMNS), x, tmp_path)
    compact.assert_works_in_half_precision(NearestFill2D, x, ROWS, COLUMNS)


@pytest.mark.skipif(not compact.ON_TENSORFLOW, reason="export takes TensorFlow")
def test_file(tmp_path):
    written = compact.assert_export_is_the_same(
        NearestFill2D(ROWS, [0, 1, 2]), draw((3, 3, 3, 2)), tmp_path
    )
    assert written.ops == {"GATHER": 1}  # All columns stay as they are.


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"rows must be a list of whole numbers.*\[-1\]"):
        NearestFill2D([-1], [0])
    with pytest.raises(ValueError, match=r"columns must be a list of whole numbers.*columns=4"):
        NearestFill2D([0], 4)
    with pytest.raises(ValueError, match=r"rows must be below the input's 3\. Received: 3"):
        NearestFill2D([0, 3], [0]).build((None, 3, 3, 2))
