"""8-bit integers; what they compute: test_calibrate.py, test_fake_quantize.py."""

import keras
import numpy as np
import pytest

from tests.export.storages.limits import EXACT
from tfcompress.export import export
from tfcompress.layers import BinaryConv2D, BinaryDense

# What the contract holds the storage to.
LIMITS = {"usual": (0.5, 0.9, 0.15), "binary": EXACT, "trained": (0.25, 0.9, 0.1)}


@pytest.mark.parametrize(("storage", "kind"), [("int8", "int8"), ("1bit", "int16")])
def test_inputs_of_2_bits_lose_nothing(tmp_path, storage, kind):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 5, 8))
    x = BinaryConv2D(8, 3, strides=2, padding="same", bias_initializer="normal", input_bits=2)(
        image
    )
    net = keras.Model(image, BinaryDense(4, input_bits=2)(keras.layers.Flatten()(x)))
    images = np.random.default_rng(1).normal(size=(30, 6, 5, 8)).astype("float32")
    written = export(net, tmp_path / "m.tflite", storage=storage, representative=images)
    assert written.parity.max_abs_diff < 1e-5
    assert kind in written.weight_bytes
    assert not any("CUSTOM" in op for op in written.ops)
