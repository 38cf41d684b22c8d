"""Images whose range a model's first layers aren't made for."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress.export.input_scaling import mismatch, takes_pixels

BYTES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype("float32")
UNITS = BYTES / 255
NORMAL = (UNITS - 0.5) / 0.25
# First layers, images that they are for, and images that they aren't for.
SCALED = {
    "bytes": ([layers.Rescaling(1 / 255)], BYTES, UNITS),
    "bytes to -1..1": ([layers.Rescaling(1 / 127.5, offset=-1)], BYTES, UNITS),
    "units to -1..1": ([layers.Rescaling(2, offset=-1)], UNITS, BYTES),
    "statistics of bytes": (
        [layers.Normalization(mean=[124, 116, 104], variance=[3400, 3300, 3400])], BYTES, UNITS,
    ),
    "statistics of units": (
        [layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)], UNITS, BYTES,
    ),
    "two layers": (
        [layers.Rescaling(1 / 255), layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)],
        BYTES, NORMAL,
    ),
    "augmented": ([layers.RandomFlip(), layers.Rescaling(1 / 255)], BYTES, UNITS),
    "nested": ([keras.Sequential([layers.Rescaling(1 / 255)])], BYTES, UNITS),
}  # fmt: skip


def net(first):
    keras.utils.set_random_seed(0)
    last = [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input((8, 8, 3)), *first, *last])


@pytest.mark.parametrize("case", SCALED)
def test_images_of_the_wrong_range(case):
    first, right, wrong = SCALED[case]
    model = net(first)
    assert mismatch(model, right) is None
    assert mismatch(model, right / 4) is None  # Dark ones.
    assert "don't have the range that the model takes" in mismatch(model, wrong)
    assert takes_pixels(model) == (right is BYTES)


@pytest.mark.parametrize("images", [BYTES, UNITS, NORMAL, np.zeros((2, 8, 8, 3), "float32")])
def test_a_model_without_scaling_takes_what_it_is_given(images):
    for first in ([], [layers.Rescaling(1.0, offset=-127)], [layers.Dense(3)]):
        model = net(first)
        assert mismatch(model, images) is None
        assert not takes_pixels(model)


def test_the_export_says_so(tmp_path):
    model = net(SCALED["bytes"][0])
    with pytest.warns(UserWarning, match=r"lie in 0\.\.1, and layer 'rescaling.*0\.0039") as said:
        written = tfcompress.export(
            model, tmp_path / "m.tflite", storage="int8", representative=UNITS, strict=False
        )
    assert written.notes == (str(said[0].message),)
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        written = tfcompress.export(
            model, tmp_path / "m.tflite", storage="int8", representative=BYTES
        )
    assert written.notes == ()


def test_half_precision_is_exported_in_full(tmp_path):
    """The converter writes 16-bit convolutions as ops that no phone has."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, dtype="mixed_float16")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    written = tfcompress.export(model, tmp_path / "m.tflite", representative=NORMAL)
    assert "by the policy mixed_float16; the file was made of" in written.notes[0]
    assert set(written.weight_bytes) <= {"float32", "int32"}
    assert model.layers[1].dtype_policy.name == "mixed_float16"
