"""Binary layers whose scales and normalisations are powers of two, in the net and in the file."""

import numpy as np
import pytest
from keras import ops

import tfcompress
from tests.checks import gradients, predict, signs
from tests.techniques.conftest import trained
from tests.techniques.counts import CONV2, CONV3, ENDS
from tfcompress import kernels, techniques
from tfcompress.layers import ShiftBatchNormalization
from tfcompress.ops import binarize
from tfcompress.runtime import LiteModel

# As xnor's, without the slopes of PReLU.
PARAMETERS = ENDS + (2 * 8 + CONV2 + 16) + (2 * 16 + CONV3 + 16)


def powers(x):
    return 2.0 ** np.round(np.log2(x))


def test_scales_are_powers_of_two(small):
    thin = tfcompress.transform(small(), "qnn")
    for name in ("conv2", "conv3"):
        layer = thin.get_layer(name)
        latent = np.asarray(layer.kernel)
        expected = powers(np.abs(latent).mean((0, 1, 2))) * signs(latent)
        np.testing.assert_array_equal(np.asarray(layer.logical_kernel()), expected)
        assert type(thin.get_layer(f"{name}_sign_bn")) is ShiftBatchNormalization
    assert not [each for each in thin.layers if "PReLU" in type(each).__name__]


def test_the_gradient_is_the_scales_within_the_clip():
    latent = np.array([[0.3, 1.4], [-0.2, 0.1], [0.9, -2.0]], "float32")
    upstream = np.arange(1.0, 7.0, dtype="float32").reshape(3, 2)
    (got,) = gradients(
        lambda w: ops.sum(binarize.binary_kernel(w, 1.0, shift_scale=True) * upstream), latent
    )
    scale = powers(np.abs(latent).mean(0))
    np.testing.assert_allclose(got, upstream * scale * (np.abs(latent) <= 1))


def test_shift_based_adamax_trains_in_place_of_the_recipes_optimizer(small, data):
    technique = techniques.get("qnn")
    runs = [
        trained(technique, small(), data, 1, shift_adamax=shift).model.get_layer("conv2").kernel
        for shift in (True, False)
    ]
    assert all(np.isfinite(np.asarray(run)).all() for run in runs)
    assert not np.array_equal(*map(np.asarray, runs))


@pytest.mark.skipif(kernels.missing() is not None, reason="the 1-bit kernels can't be had")
def test_the_file_of_bits_is_the_nets(small, data, tmp_path):
    model = trained(techniques.get("qnn"), small(), data, 1).model
    x = np.random.default_rng(0).normal(size=(20, 16, 16, 3)).astype("float32")
    path = tmp_path / "m.tflite"
    tfcompress.export(model, path, storage="xnor", representative=x)
    outputs = LiteModel(path).predict(x)
    np.testing.assert_allclose(outputs, predict(model, x), rtol=1e-4, atol=1e-4)
