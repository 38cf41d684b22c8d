"""Weights of two values in the net, in training and in the file."""

import numpy as np

import tfcompress
from tests.checks import predict
from tests.techniques.conftest import trained
from tests.techniques.counts import PLAIN
from tfcompress import techniques
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read

# The scales are fixed.
PARAMETERS = PLAIN


def test_inner_layers_have_two_values(small):
    model = small()
    thin = tfcompress.transform(model, "binaryconnect")
    for name in ("conv2", "conv3"):
        before = np.asarray(model.get_layer(name).kernel)
        values = np.unique(np.abs(np.asarray(thin.get_layer(name).rounded_kernel())))
        np.testing.assert_allclose(values, [np.abs(before).mean()], rtol=1e-5)
        assert np.abs(np.asarray(thin.get_layer(name).kernel)).max() == 1
    assert not hasattr(thin.get_layer("conv1"), "rounded_kernel")


def test_draws_from_the_trainings_seed(small, data):
    """The same run twice; with the signs it is another one."""
    technique = techniques.get("binaryconnect")
    weights = [
        trained(technique, small(), data, 1, stochastic=stochastic).model.get_weights()
        for stochastic in (True, True, False)
    ]
    for one, again in zip(*weights[:2], strict=True):
        np.testing.assert_array_equal(one, again)
    assert any((one != other).any() for one, other in zip(*weights[1:], strict=True))


def test_a_bit_a_weight_in_the_file(small, tmp_path):
    thin = tfcompress.transform(small(), "binaryconnect")
    path = tmp_path / "m.tflite"
    x = np.random.default_rng(0).normal(size=(20, 16, 16, 3)).astype("float32")
    tfcompress.export(thin, path, storage="1bit", representative=x)
    np.testing.assert_allclose(LiteModel(path).predict(x), predict(thin, x), atol=1e-5)
    floats = 4 * PARAMETERS
    assert read(path).weight_bytes.get("float32", 0) < floats / 2


def test_draws_first_and_takes_the_signs_then(small, data):
    """The second half of the epochs begins at what the first one left, without its chance."""
    technique = techniques.get("binaryconnect")
    thin = trained(technique, small(), data, 2, stochastic=True).model
    assert [thin.get_layer(name).stochastic for name in ("conv2", "conv3")] == [False] * 2
    x = np.random.default_rng(0).normal(size=(20, 16, 16, 3)).astype("float32")
    once, again = (np.asarray(thin(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_a_training_of_the_users_own_draws(small):
    thin = tfcompress.transform(small(), "binaryconnect", stochastic=True)
    assert thin.get_layer("conv2").stochastic
