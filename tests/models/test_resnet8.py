import keras
import numpy as np
import pytest

from tests import checks
from tfcompress import graph, models


@pytest.mark.parametrize(
    ("name", "filters", "parameters", "variables", "macs"),
    [
        ("resnet8", (16, 32, 64), 78_186, 78_666, 12_501_632),
        ("resnet8_large", (40, 80, 160), 481_530, 482_730, 76_473_920),
    ],
)
def test_pinned_counts(name, filters, parameters, variables, macs):
    model = models.build(name, (32, 32, 3), 10)
    one, two, three = filters
    kernels = {
        32: 27 * one + 18 * one**2,
        16: 9 * one * two + 9 * two**2 + one * two,
        8: 9 * two * three + 9 * three**2 + two * three,
    }
    biases, norms = 3 * sum(filters), 2 * (3 * one + 2 * two + 2 * three)
    dense = three * 10 + 10
    assert graph.parameters(model) == sum(kernels.values()) + biases + norms + dense == parameters
    assert model.count_params() == variables
    products = sum(side**2 * count for side, count in kernels.items()) + three * 10
    assert graph.macs(model) == products == macs
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)


def test_a_block_adds_what_went_in():
    """With kernels of zeros only the ways past the blocks are left."""
    model = models.build("resnet8", (16, 16, 1), 3, width=0.5)
    for layer in model.layers:
        if layer.name.startswith("block") and layer.name.endswith(("conv1", "conv2")):
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype("float32")
    features = [model.get_layer(name).output for name in ("conv1_relu", "block3_relu")]
    first, last = keras.Model(model.inputs, features).predict(images, verbose=0)
    for number in (2, 3):
        kernel, _ = model.get_layer(f"block{number}_shortcut").get_weights()
        first = np.maximum(first[:, ::2, ::2] @ kernel[0, 0], 0)
    np.testing.assert_allclose(last, first, rtol=1e-4, atol=1e-3)
    assert checks.predict(model, images).shape == (2, 3)
