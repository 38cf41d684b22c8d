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
from tfcompress.config import Distillation, Training
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
training = Training(epochs=2, batch_size=32, distillation=Distillation(weight=0.7))


def student():
    return xnor.transform(techniques.Candidate(teacher()), xnor.make_options()).model


def stop(epoch, step, steps):
    if (epoch, step) == (2, 2):
        raise KeyboardInterrupt


def pruned_by_fit_and_by_hand():
    # Six steps of a matrix against NumPy: masks change at the beginning of steps 1, 3 and 5.
    import tfcompress

    random = np.random.default_rng(0)
    x = random.normal(size=(48, 12)).astype("float32")
    y = random.normal(size=(48, 8)).astype("float32")
    model = keras.Sequential([keras.Input((12,)), layers.Dense(8, use_bias=False, name="wide")])
    weights = model.get_weights()[0]
    for step, share in zip(range(1, 7), (0.2, None, 0.65, None, 0.8, None)):
        batch = slice(8 * step - 8, 8 * step)
        if share:
            left = round(96 * (1 - share))
            mask = np.abs(weights) >= np.sort(np.abs(weights), None)[-left]
        weights = weights * mask
        error = x[batch] @ weights - y[batch]
        weights = weights - 0.5 * 2 / error.size * x[batch].T @ error
    weights = weights * mask

    options = {"begin_step": 1, "end_step": 5, "frequency": 2, "initial_sparsity": 0.2}
    model.compile(keras.optimizers.SGD(0.5), "mse")
    prepared = tfcompress.prepare(model, "prune", **options, power=2.0)
    prepared.fit(x, y, batch_size=8, shuffle=False, verbose=0,
                 callbacks=tfcompress.callbacks(prepared))
    by_fit = tfcompress.finish(prepared).get_weights()[0]
    np.testing.assert_allclose(by_fit, weights, atol=1e-6)
    assert (by_fit == 0).mean() > 0.78

    prepared = tfcompress.prepare(model, "prune", **options, power=2.0)
    try:
        prepared.fit(x, y, verbose=0)
        raise SystemExit("masks that nobody carries")
    except tfcompress.InputError as error:
        assert "tfcompress.callbacks(model)" in str(error), error
    prepared = tfcompress.prepare(model, "prune", **options, power=2.0)
    prepared.optimizer.build(prepared.trainable_variables)
    for callback in tfcompress.callbacks(prepared):
        callback.set_model(prepared)
        callback.on_train_begin()
    state = [prepared.trainable_variables, prepared.optimizer.variables]
    kernels, others = [[v.value for v in variables] for variables in state]
    for step in range(6):
        batch = slice(8 * step, 8 * step + 8)
        error = x[batch] @ np.asarray(kernels[0]) - y[batch]
        gradients = [2 / error.size * x[batch].T @ error]
        kernels, others = prepared.optimizer.stateless_apply(others, gradients, kernels)
    for variable, value in zip(state[0] + state[1], kernels + others, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(tfcompress.finish(prepared).get_weights()[0], weights, atol=1e-6)

    data = (x, y)
    small = tfcompress.compress(model, "prune", data, epochs=2, frequency=1, verbose=False)
    assert (small.get_weights()[0] == 0).mean() > 0.78


def quantised_by_fit_and_by_hand():
    # One kernel and two ranges of a matrix against NumPy, by an independent rounding.
    import tfcompress
    from tfcompress.layers import FakeQuantize

    random = np.random.default_rng(0)
    x = random.normal(size=(24, 12)).astype("float32")
    y = random.normal(size=(24, 8)).astype("float32")
    model = keras.Sequential([keras.Input((12,), name="x"), layers.Dense(8, name="wide")])
    model.compile(keras.optimizers.SGD(0.5), "mse", metrics=["mae"])

    def rounded(values, low, high, levels):
        step = (high - low) / levels
        return np.clip(np.round(values / step), np.round(low / step), np.round(high / step)) * step

    kernel, bias = model.get_weights()
    outputs = x @ kernel + bias
    ends = [min(0, outputs.min()), max(0, outputs.max())]
    x_ends = [x.min(), x.max()]
    for batch in (slice(0, 8), slice(8, 16), slice(16, 24)):
        inputs = rounded(x[batch], *x_ends, 255)
        largest = np.abs(kernel).max()
        outputs = inputs @ rounded(kernel, -largest, largest, 254) + bias
        seen = (min(0, outputs.min()), max(0, outputs.max()))
        ends = [0.999 * old + 0.001 * new for old, new in zip(ends, seen)]
        inside = (outputs >= ends[0]) & (outputs <= ends[1])
        error = (rounded(outputs, *ends, 255) - y[batch]) * inside * 2 / outputs.size
        kernel, bias = kernel - 0.5 * inputs.T @ error, bias - 0.5 * error.sum(0)

    prepared = tfcompress.prepare(model, "qat", representative=x)
    assert tfcompress.callbacks(prepared) == []
    prepared.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    small = tfcompress.finish(prepared)
    largest = np.abs(kernel).max()
    found = small.get_layer("wide").get_weights()
    np.testing.assert_allclose(found[0], rounded(kernel, -largest, largest, 254), atol=5e-3)
    np.testing.assert_allclose(found[1], bias, atol=2e-3)
    range_ = small.get_layer("wide_quantized").range()
    np.testing.assert_allclose(range_, ends, rtol=1e-4)

    prepared = tfcompress.prepare(model, "qat", representative=x)
    prepared.optimizer.build(prepared.trainable_variables)
    variables = (prepared.trainable_variables, prepared.non_trainable_variables,
                 prepared.optimizer.variables)

    def loss(weights, others, inputs, targets):
        outputs, others = prepared.stateless_call(weights, others, inputs, training=True)
        return keras.ops.mean((outputs - targets) ** 2), others

    import jax

    weights, others, state = ([v.value for v in each] for each in variables)
    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for first in (0, 8, 16):
        (_, others), gradients = gradient(weights, others, x[first:first + 8], y[first:first + 8])
        weights, state = prepared.optimizer.stateless_apply(state, gradients, weights)
    for each, values in zip(variables, (weights, others, state)):
        for variable, value in zip(each, values, strict=True):
            variable.assign(value)
    by_hand = tfcompress.finish(prepared)
    for a, b in zip(by_hand.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=5e-3)

    settings = {"epochs": 1, "batch_size": 32, "calibration_images": 32, "verbose": False}
    small = tfcompress.compress(teacher(), "qat", data, **settings)
    assert any(isinstance(layer, FakeQuantize) for layer in small.layers)


def clustered():
    # Six steps of a matrix against NumPy: four values, evenly spaced as they begin.
    import tfcompress

    random = np.random.default_rng(0)
    x = random.normal(size=(48, 12)).astype("float32")
    y = random.normal(size=(48, 8)).astype("float32")
    model = keras.Sequential([keras.Input((12,)), layers.Dense(8, use_bias=False, name="wide")])
    weights = model.get_weights()[0]
    values = np.linspace(weights.min(), weights.max(), 4)
    for step in range(6):
        batch = slice(8 * step, 8 * step + 8)
        nearest = np.abs(weights[..., None] - values).argmin(-1)
        error = x[batch] @ values[nearest] - y[batch]
        gradient = 2 / error.size * x[batch].T @ error
        weights = weights - 0.1 * gradient
        values = values - 0.1 * np.array([gradient[nearest == n].sum() for n in range(4)])
    nearest = np.abs(weights[..., None] - values).argmin(-1)

    model.compile(keras.optimizers.SGD(0.1), "mse")
    prepared = tfcompress.prepare(model, "cluster", clusters=4, centroids="linear")
    prepared.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    by_fit = tfcompress.finish(prepared).get_weights()[0]
    np.testing.assert_allclose(by_fit, values[nearest], atol=1e-6)
    small = tfcompress.compress(model, "cluster", (x, y), epochs=1, clusters=5, verbose=False)
    assert len(np.unique(small.get_weights()[0])) == 5


def gradients():
    from tfcompress.data.protocol import Batch
    from tfcompress.training.gradients import batch_gradients
    from tfcompress.training.objective import Objective

    random = np.random.default_rng(0)
    x, y = (random.normal(size=(20, n)).astype("float32") for n in (3, 2))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, use_bias=False, name="only")(inputs))
    (kernel,) = model.get_weights()
    found = list(batch_gradients(model, Batch(x, y), Objective(loss="mse"), 8))
    assert len(found) == 2  # The last four examples are no batch.
    for each, part in zip(found, (slice(0, 8), slice(8, 16))):
        error = x[part] @ kernel - y[part]
        np.testing.assert_allclose(each["only"][0], 2 / error.size * x[part].T @ error, rtol=1e-4)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


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
pruned_by_fit_and_by_hand()
quantised_by_fit_and_by_hand()
clustered()
gradients()
assert sys.modules["tensorflow"] is None
assert not any(name.startswith("tensorflow.") for name in sys.modules)
"""


def test_trains_distils_resumes_and_compresses_without_tensorflow(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        # Compiling takes longer here than running.
        env={**environment, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
