"""What chains of techniques leave in the integer file that a phone would load."""

import keras
import numpy as np
import pytest

import tfcompress
from tests.techniques.conftest import randomise
from tfcompress.data import from_arrays
from tfcompress.export import convert

SPARSITY = 0.75
CLUSTERS = 8


@pytest.fixture(scope="module")
def data():
    pixels = np.random.default_rng(0).integers(0, 256, (96, 16, 16, 3)).astype(np.uint8)
    return from_arrays((pixels, np.arange(96) % 4))


@pytest.fixture
def net():
    """Each kind of layer once: the steps' graphs take most of the time."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 3), name="image")
    for number, filters in enumerate((8, 16), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"conv{number}_bn")(x)
        x = layers.MaxPooling2D(2)(layers.ReLU(name=f"conv{number}_relu")(x))
    return randomise(keras.Model(inputs, layers.Dense(4, name="logits")(layers.Flatten()(x))))


@pytest.mark.parametrize(
    "chain",
    [
        # The slow ones are parts of the others, or the same scheme in test_qat.py of the bridge.
        pytest.param("prune+qat", marks=pytest.mark.slow),
        pytest.param("cluster+qat", marks=pytest.mark.slow),
        "prune+cluster+qat",
        pytest.param("cp+qat", marks=pytest.mark.slow),
        pytest.param("separable+prune+qat", marks=pytest.mark.slow),
        pytest.param("prune+int8", marks=pytest.mark.slow),
        pytest.param("prune+cluster+int8", marks=pytest.mark.slow),
    ],
)
def test_the_file_has_what_each_step_made(chain, net, data, tmp_path):
    options = {"final_sparsity": SPARSITY} if "prune" in chain else {}
    if "cluster" in chain:
        options["clusters"] = CLUSTERS
    if "cp" in chain:
        options["macs_ratio"] = 0.5
    model = tfcompress.compress(net, chain, data, epochs=1, batch_size=16, verbose=False, **options)
    file = tfcompress.export(
        model, tmp_path / "m.tflite", storage="int8", calibration=data.representative(64)
    )
    assert file.float_ops == ()
    kernels = convert.int8_constants(tmp_path / "m.tflite")
    depthwise = [kernel for kernel in kernels if kernel.ndim == 4 and kernel.shape[0] == 1]
    full = [kernel for kernel in kernels if not any(kernel is other for other in depthwise)]
    assert full
    for kernel in full:
        if "prune" in chain:
            assert np.mean(kernel == 0) >= SPARSITY - 0.01
        if "cluster" in chain:
            # A filter's values share its scale; a dense kernel has one for all.
            rows = kernel.reshape(len(kernel), -1) if kernel.ndim == 4 else [kernel]
            assert max(len(np.unique(row)) for row in rows) <= CLUSTERS
    if "cp" in chain or "separable" in chain:
        assert depthwise
