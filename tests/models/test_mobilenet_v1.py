import math

import keras
import pytest

from tfcompress import graph, models

SEPARABLE = [
    *[(32, 64, 112), (64, 128, 56), (128, 128, 56), (128, 256, 28), (256, 256, 28)],
    *[(256, 512, 14), *[(512, 512, 14)] * 5, (512, 1024, 7), (1024, 1024, 7)],
]


@pytest.mark.parametrize(
    ("width", "parameters", "macs"), [(1.0, 4_231_976, 568_740_352), (0.25, 470_072, 41_030_272)]
)
def test_counts(width, parameters, macs):
    """Written out, and as of Keras's own MobileNet."""
    model = models.build("mobilenet_v1", (224, 224, 3), 1000, width=width)

    def wide(channels):
        return int(channels * width)

    first = 3 * 3 * 3 * wide(32)
    count = first + 2 * wide(32) + wide(1024) * 1000 + 1000
    products = 112 * 112 * first + wide(1024) * 1000
    for channels, filters, size in SEPARABLE:
        weights = 9 * wide(channels) + wide(channels) * wide(filters)
        count += weights + 2 * wide(channels) + 2 * wide(filters)
        products += size * size * weights
    assert graph.parameters(model) == count == parameters
    assert graph.macs(model) == products == macs
    theirs = keras.applications.MobileNet(weights=None, alpha=width)
    assert sum(math.prod(weight.shape) for weight in theirs.trainable_variables) == parameters
    assert graph.macs(theirs) == macs


def test_papers_figures():
    """569 and 41 million mult-adds, 4.2 and 0.5 million parameters (tables 4 and 6)."""
    with keras.StatelessScope():  # No values are drawn: only the shapes matter.
        whole, quarter = (
            models.build("mobilenet_v1", (224, 224, 3), 1000, width=width) for width in (1.0, 0.25)
        )
    assert [round(graph.macs(model) / 1e6) for model in (whole, quarter)] == [569, 41]
    assert [round(graph.parameters(model) / 1e6, 1) for model in (whole, quarter)] == [4.2, 0.5]


def test_resolution():
    model = models.build("mobilenet_v1", (32, 32, 3), 10, width=0.25, dropout=0.2)
    assert model.output_shape == (None, 10)
    assert model.get_layer("conv14").output.shape[1:] == (1, 1, 256)
    assert model.get_layer("dropout").rate == 0.2


def test_as_the_reference_model_of_mlperf_tiny():
    model = models.build("mobilenet_v1", (96, 96, 3), 2, width=0.25, use_bias=True)
    assert model.count_params() == 221_794
    assert (graph.parameters(model), graph.macs(model)) == (216_322, 7_489_664)
