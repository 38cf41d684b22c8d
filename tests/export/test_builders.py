"""Every builder of ours as an integer file, calibrated and through quantization-aware training."""

import keras
import numpy as np
import pytest

import tfcompress
import tfcompress.runtime
from tfcompress import models
from tfcompress.qat import train
from tfcompress.qat.prepare import prepare

each = pytest.mark.parametrize("name", models.names())


def small(name):
    """A quarter of the width, on the smallest images that the net was made for."""
    native = models.get(name).NATIVE_SIZE
    side = native if native <= 64 else 96
    keras.utils.set_random_seed(0)
    model = models.build(name, (side, side, 3), 10, width=0.25)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.8, 1.2, layer.moving_variance.shape))
    return model, rng.normal(size=(64, side, side, 3)).astype("float32")


@pytest.mark.slow
@each
def test_trained_for_8_bits(name, tmp_path):
    model, x = small(name)
    quantised = train.wrap_and_calibrate(prepare(model)[0], calibration=x).finish(x)
    # Labels of an untrained net hang on the last bits, so the file isn't compared by them here.
    file = tfcompress.export(quantised, tmp_path / "m.tflite", storage="int8")
    assert file.float_ops == ()
    assert file.float_products == ()
    got = tfcompress.runtime.LiteModel(file.path).predict(x).reshape(len(x), -1)
    expected = np.asarray(quantised.predict(x, verbose=0)).reshape(len(x), -1)
    assert np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean()) < 0.05


@pytest.mark.slow
@each
def test_calibrated(name, tmp_path):
    model, x = small(name)
    file = tfcompress.export(model, tmp_path / "m.tflite", storage="int8", calibration=x)
    assert file.float_ops == ()
    assert file.float_products == ()
    got = tfcompress.runtime.LiteModel(file.path).predict(x).reshape(len(x), -1)
    expected = np.asarray(model.predict(x, verbose=0)).reshape(len(x), -1)
    assert np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean()) < 0.1
