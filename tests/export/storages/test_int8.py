"""8-bit integers; what they compute: test_calibrate.py, test_fake_quantize.py."""

import keras
import numpy as np
import pytest

from tests.export.storages.limits import EXACT
from tfcompress.export import export
from tfcompress.layers import BinaryConv2D, BinaryDense
from tfcompress.runtime import LiteModel

# What the contract holds the storage to.
LIMITS = {"usual": (0.5, 0.9, 0.15), "binary": EXACT, "trained": (0.25, 0.9, 0.1)}


@pytest.mark.parametrize(("storage", "kind"), [("int8", "int8"), ("1bit", "int16")])
def test_inputs_of_2_bits_lose_nothing(tmp_path, storage, kind):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 7, 8))
    x = BinaryConv2D(8, 3, strides=2, padding="same", input_bits=2)(image)
    net = keras.Model(image, BinaryConv2D(4, 3, input_bits=2)(x))
    net.layers[-1].input_step.assign(0.2)  # Some inputs are on each level.
    images = np.random.default_rng(1).normal(size=(30, 8, 7, 8)).astype("float32")
    written = export(net, tmp_path / "m.tflite", storage=storage, representative=images)
    assert written.parity.max_abs_diff < 1e-5
    assert kind in written.weight_bytes
    assert not any("CUSTOM" in op for op in written.ops)


def test_few_inputs_without_the_highest_level_are_rounded(tmp_path):
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((9,)), BinaryDense(3, input_bits=2)])
    x = np.full((4, 9), 0.7, "float32")  # The level 1, in one image beside a 2 or a 3.
    x[1, 0], x[2, 0] = 1.4, 2.0
    written = export(net, tmp_path / "m.tflite", storage="int8", representative=x)
    wrong = np.abs(LiteModel(tmp_path / "m.tflite").predict(x) - np.asarray(net(x))).max(axis=1)
    assert (wrong > 1e-4).tolist() == [False, True, False, False]
    assert written.parity.relative_rms < 0.01
