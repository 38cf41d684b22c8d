import pytest

from tfcompress import graph, models
from tfcompress.errors import InputError

# Kernel size, channels, filters and image size of the 15 convolutions with BN.
CONVS = [
    *[(3, 3, 16, 224), (3, 16, 32, 112)],
    *[(1, 32, 16, 56), (3, 16, 128, 56), (1, 128, 16, 56), (3, 16, 128, 56)],
    *[(1, 128, 32, 28), (3, 32, 256, 28), (1, 256, 32, 28), (3, 32, 256, 28)],
    *[(1, 256, 64, 14), (3, 64, 512, 14), (1, 512, 64, 14), (3, 64, 512, 14)],
    (1, 512, 128, 14),
]


def test_counts():
    model = models.build("tiny_darknet", (224, 224, 3), 1000)
    weights = [k * k * channels * filters for k, channels, filters, _ in CONVS]
    scales = 2 * sum(filters for _, _, filters, _ in CONVS)
    last = 128 * 1000
    assert graph.parameters(model) == sum(weights) + scales + last + 1000 == 1_042_104
    products = sum(w * size * size for w, (*_, size) in zip(weights, CONVS, strict=True))
    assert graph.macs(model) == products + 14 * 14 * last == 491_524_096
    # The authors' page: 4.0 MB with the statistics, 980 million operations.
    assert round(model.count_params() * 4 / 2**20, 1) == 4.0
    assert round(2 * graph.macs(model) / 1e7) == 98


def test_width_and_size():
    model = models.build("tiny_darknet", (32, 48, 3), 5, width=0.5)
    assert model.output_shape == (None, 5)
    assert model.get_layer("conv1").filters == 8
    assert model.get_layer("conv1_leaky").negative_slope == pytest.approx(0.1)
    with pytest.raises(InputError, match="can't take images of 8x8"):
        models.build("tiny_darknet", (8, 8, 3), 10)
