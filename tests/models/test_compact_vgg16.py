import itertools

import pytest

from tfcompress import graph, models
from tfcompress.errors import InputError
from tfcompress.layers import DepthwiseSeparable

# Filters of the 13 convolutions, and the size of the images that each works on.
FILTERS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
SIZES = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]


@pytest.fixture(scope="module")
def model():
    return models.build("compact_vgg16", (32, 32, 3), 10)


def test_parameters(model):
    count = 3 * 3 * 3 * 64 + 64 + 2 * 64
    for inner, filters in itertools.pairwise(FILTERS):
        count += 9 * inner + inner + 2 * inner
        count += inner * filters + filters + 2 * filters
    count += 512 * 10 + 10
    assert graph.parameters(model) == count == 1_698_378


def test_macs(model):
    count = 32 * 32 * 3 * 3 * 3 * 64
    for inner, filters, size in zip(FILTERS, FILTERS[1:], SIZES[1:], strict=False):
        count += size * size * (9 * inner + inner * filters)
    count += 512 * 10
    assert graph.macs(model) == count == 38_018_048


def test_second_convolution(model):
    """4,800 counts the biases of both parts and leaves batch normalisation out."""
    layer = model.get_layer("block1_conv2")
    parts = (layer.depthwise, layer.pointwise)
    assert sum(part.count_params() for part in parts) == 9 * 64 + 64 + 64 * 64 + 64 == 4800
    (row,) = (row for row in graph.count(model) if row.name == "block1_conv2")
    assert row.macs == 4_784_128


def test_all_but_the_first_are_separable(model):
    separable = [layer for layer in model.layers if isinstance(layer, DepthwiseSeparable)]
    assert [layer.filters for layer in separable] == FILTERS[1:]


def test_width_and_size():
    half = models.build("compact_vgg16", (64, 48, 1), 3, width=0.5)
    assert half.output_shape == (None, 3)
    assert half.get_layer("block5_conv3").filters == 256
    with pytest.raises(InputError, match="can't take images of 16x16"):
        models.build("compact_vgg16", (16, 16, 3), 10)
