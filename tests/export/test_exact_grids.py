"""Weights on a grid of few bits are stored by its integers: the file multiplies them exactly."""

import keras
import numpy as np
import pytest

from tfcompress.export import convert, exact_grids, low_bits
from tfcompress.ops.few_bits import levels
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read


def on_grid(shape, bits, seed=0):
    """Weights of all integers of so many bits, and a step for each filter (last axis)."""
    low, high = levels(bits)
    rng = np.random.default_rng(seed)
    return rng.integers(low, high + 1, shape) * rng.uniform(0.1, 1, shape[-1])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_file_computes_with_exactly_these_weights(kind, bits, tmp_path):
    if kind == "dense":
        layer, shape = keras.layers.Dense(5), (33,)
    else:
        layer, shape = keras.layers.Conv2D(5, 3, padding="same"), (6, 6, 3)
    model = keras.Sequential([keras.Input(shape), layer])
    kernel = on_grid(layer.kernel.shape, bits)
    kernel[..., 1] = 0
    layer.set_weights([kernel, np.zeros(5)])
    convert.float_file(model, tmp_path / "floats.tflite")
    names = convert.ops_fast_with_floats(read(tmp_path / "floats.tflite"))
    path = tmp_path / "few.tflite"
    low_bits.write_low_bits(tmp_path / "floats.tflite", path, dict.fromkeys(names, bits))
    # 0 and 1, which the runtime holds without error when it quantises activations.
    x = np.random.default_rng(1).integers(0, 2, (4, *shape)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x)).reshape(4, -1)
    got = LiteModel(path).run(x)[0].reshape(4, -1)
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_steps_of_filters():
    assert exact_grids.grid_steps(np.array([[-2, -1, 0, 1], [0, 0, 0, 0]]) * 0.3, 2).tolist() == [
        pytest.approx(0.3),
        0,
    ]
    # Of three values the quantizer's own step, so that their bytes stay what they were.
    assert exact_grids.grid_steps(np.array([[-0.7, 0, 0.7]]), 2).tolist() == [0.7]
    assert exact_grids.grid_steps(np.array([[-0.7, 0, 0.7], [-1, 0, 2]]), 2) is None
    assert exact_grids.grid_steps(np.random.default_rng(0).normal(size=(3, 9)), 8) is None


def test_packing_is_the_files():
    assert exact_grids.pack(np.array([1, -2, 0, -1, 1], np.int8), 2).tolist() == [0b11_00_10_01, 1]
    assert exact_grids.pack(np.array([-8, 7, 3], np.int8), 4).tolist() == [0x78, 0x03]
