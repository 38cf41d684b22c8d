"""Several devices against one, in a process of its own: devices are made before a backend is."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tfcompress.config import RunConfig, Training
from tfcompress.errors import InputError
from tfcompress.run import main
from tfcompress.training import devices

SCRIPT = """
import sys
from pathlib import Path

import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, two)

from keras import layers

import tfcompress
from tfcompress.api.compression import data_for
from tfcompress.config import Distillation, Training
from tfcompress.data import from_arrays
from tfcompress.training import TrainingContext, fit
from tests.training.conftest import toy_images

# The last batches have three examples: one comes twice on two devices.
data = from_arrays(toy_images(35, 1), toy_images(16, 2), augmentation="none")
even = from_arrays(toy_images(40, 1), toy_images(16, 2), augmentation="none")
DISTILLATION = Distillation(losses="kd+at", weight=0.5)


def net():
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=4, activation="relu", kernel_regularizer="l2")(x)
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))


def alike(first, second):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def trained(data, devices, teacher=None, epochs=2, **context):
    model = net()
    tensors = [variable.value for variable in model.variables]
    training = Training(epochs=epochs, batch_size=16, distillation=DISTILLATION)
    context = TrainingContext(seed=3, devices=devices, teacher=teacher, **context)
    rows = fit(model, data, training, context)
    if keras.backend.backend() == "tensorflow":
        assert all(a is b.value for a, b in zip(tensors, model.variables, strict=True))
    return model, rows


def stop(epoch, step, steps):
    if epoch == 2:
        raise KeyboardInterrupt


# The labels alone, and a teacher whose maps are compared; the penalty counts once.
for teacher in (None, net()):
    (one, rows), (two, others) = (trained(even, devices, teacher) for devices in (1, "all"))
    alike(one, two)
    for a, b in zip(rows, others, strict=True):
        assert a["test_error"] == b["test_error"]
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
assert np.abs(one.get_weights()[0] - net().get_weights()[0]).max() > 1e-3
assert np.isfinite(trained(data, 2)[1][-1]["loss"])

# A training that began on two devices goes on upon one.
checkpoint = Path(sys.argv[1]) / "state.npz"
try:
    trained(even, 2, checkpoint=checkpoint, on_step=stop)
    raise SystemExit("it wasn't stopped")
except KeyboardInterrupt:
    alike(trained(even, 1, checkpoint=checkpoint)[0], trained(even, 1)[0])

# The masks, which the optimizer carries.
options = {"batch_size": 16, "epochs": 1, "frequency": 1, "engine": "keras", "verbose": False}
pruned = [tfcompress.compress(net(), "prune", even, devices=n, **options) for n in (1, 2)]
alike(*pruned)
assert (pruned[1].get_weights()[0] == 0).mean() > 0.4

# Averages of the batches: on TensorFlow the mean of what each device's half has.
x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
inputs = keras.Input((3,))
normalised = layers.BatchNormalization(momentum=0.0, name="norm")(inputs)
model = keras.Model(inputs, layers.Dense(1)(normalised))
pair = (x, x[:, :1])
given = data_for(model, pair, pair)
fit(model, given, Training(epochs=1, batch_size=8), TrainingContext(devices=2))
_, _, mean, variance = model.get_layer("norm").get_weights()
np.testing.assert_allclose(mean, x.mean(0), atol=1e-6)
order = np.random.default_rng((0, 0)).permutation(8)
halves = np.mean([x[order[:4]].var(0), x[order[4:]].var(0)], axis=0)
whole = x.var(0)
found = halves if keras.backend.backend() == "tensorflow" else whole
np.testing.assert_allclose(variance, found, atol=1e-5)
"""


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def test_equals_one_device(backend, tmp_path):
    pytest.importorskip(backend)
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_fills_batches_up_with_their_first_examples():
    x, y = np.arange(4), {"a": np.arange(4) * 10, "b": np.arange(8).reshape(4, 2)}
    (filled, targets) = devices.Devices(3).filled((x, y))
    np.testing.assert_array_equal(filled, [0, 1, 2, 3, 0, 1])
    np.testing.assert_array_equal(targets["a"], filled * 10)
    np.testing.assert_array_equal(targets["b"][4:], y["b"][:2])
    assert devices.Devices(2).filled((x, y)) == (x, y)
    single, none = devices.Devices(4).filled((np.array([7]), None))
    assert list(single) == [7, 7, 7, 7]
    assert none is None


def test_refuses_what_cant_be_split(toy, monkeypatch):
    with pytest.raises(InputError, match=r"batches of 64 can't .* over 3 devices.* 63 or 66"):
        devices.Devices(3).check(Training(batch_size=64), toy)
    devices.Devices(3).check(Training(batch_size=64, epochs=0), toy)
    with pytest.raises(InputError, match=r"devices=99: there (is 1|are [0-9]+) here"):
        devices.chosen(99)
    assert devices.chosen(1) is devices.ONE
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(InputError, match=r"several machines.*20585.*KERAS_BACKEND=jax"):
        devices.chosen("all")


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5"])
def test_refuses_wrong_numbers(wanted, capsys):
    assert main(["run", f"--devices={wanted}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: --devices takes a number from 1 on, or all; got")
    assert RunConfig(devices="all").devices == "all"


def test_refuses_tfmot_before_anything_is_trained(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_names", lambda: ("CPU:0", "CPU:1"))
    monkeypatch.setattr(devices, "_devices", lambda names: devices.Devices(len(names)))
    flags = ["--technique=prune", "--set", "engine=tfmot", "--devices=2", "--dry_run"]
    assert main(["run", *flags, f"--output_dir={tmp_path}"]) == 2
    assert "use engine=keras, or leave devices out" in capsys.readouterr().err
