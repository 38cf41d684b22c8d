"""Training on another backend, in a process of its own: a backend can't be changed."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("jax")

SCRIPT = """
import sys
from pathlib import Path

sys.modules["tensorflow"] = None  # As where it isn't installed: importing it fails.

import keras
import numpy as np
from keras import layers

from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.training import TrainingContext, accuracy, fit, runner
from tests.training.conftest import toy_images

assert keras.backend.backend() == "jax"
# Without augmentation the teacher's outputs are kept.
data = from_arrays(toy_images(96, 1), toy_images(32, 2), augmentation="none")


def teacher():
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((16, 16, 3))
    for filters in (4, 4):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(4)(x))


xnor = techniques.get("xnor")
training = Training(epochs=2, batch_size=32, distillation_weight=0.7)


def student():
    return xnor.transform(techniques.Candidate(teacher()), xnor.make_options()).model


def stop(epoch, step, steps):
    if (epoch, step) == (2, 2):
        raise KeyboardInterrupt


checkpoint = Path(sys.argv[1]) / "state.npz"
model = student()
assert any(getattr(layer, "binarize_kernel", False) for layer in model.layers)
rows = fit(model, data, training, TrainingContext(seed=3, teacher=teacher()))
assert all(np.isfinite(weights).all() for weights in model.get_weights())
assert rows[1]["loss"] < rows[0]["loss"], rows
try:
    context = TrainingContext(seed=3, teacher=teacher(), checkpoint=checkpoint, on_step=stop)
    fit(student(), data, training, context)
    raise SystemExit("it wasn't stopped")
except KeyboardInterrupt as stopped:
    assert "1 of 2 epochs are kept" in str(stopped)
again = student()
context = TrainingContext(seed=3, teacher=teacher(), checkpoint=checkpoint)
fit(again, data, training, context)
for a, b in zip(again.variables, model.variables, strict=True):
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
assert 1 - accuracy(runner(again), data) == rows[1]["test_error"]
assert sys.modules["tensorflow"] is None
assert not any(name.startswith("tensorflow.") for name in sys.modules)
"""


def test_trains_distils_and_resumes_without_tensorflow(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
