import itertools

import pytest

from tfcompress import graph, models
from tfcompress.errors import InputError


def test_pinned_counts():
    model = models.build("vgg_small", (32, 32, 3), 10)
    channels = (3, 32, 64, 128, 128)
    kernels = [9 * a * b for a, b in itertools.pairwise(channels)]
    weights = sum(kernels) + 2 * sum(channels[1:]) + (2 * 2 * 128 * 10 + 10)
    assert graph.parameters(model) == weights == 246_314
    assert model.count_params() == 246_314 + 2 * sum(channels[1:]) == 247_018
    sizes = (32, 16, 8, 4)
    products = sum(n * n * kernel for n, kernel in zip(sizes, kernels, strict=True))
    assert graph.macs(model) == products + 2 * 2 * 128 * 10 == 12_686_336


def test_smallest_image():
    assert models.build("vgg_small", (16, 16, 3), 10, width=0.1).output_shape == (None, 10)
    with pytest.raises(InputError, match="can't take images of 15x15 pixels"):
        models.build("vgg_small", (15, 15, 3), 10, width=0.1)


def test_dropout_option():
    assert models.build("vgg_small", (16, 16, 3), 10, dropout=0.1).get_layer("dropout").rate == 0.1
