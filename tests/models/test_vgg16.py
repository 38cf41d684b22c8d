import itertools

import pytest

from tfcompress import graph, models
from tfcompress.errors import InputError


def test_pinned_counts():
    model = models.build("vgg16", (32, 32, 3), 10)
    channels = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    sizes = (32,) * 2 + (16,) * 2 + (8,) * 3 + (4,) * 3 + (2,) * 3
    kernels = [9 * a * b for a, b in itertools.pairwise(channels)]
    weights = sum(kernels) + 3 * sum(channels[1:]) + (512 * 10 + 10)  # bias, gamma, beta
    products = sum(n * n * kernel for n, kernel in zip(sizes, kernels, strict=True))
    assert graph.parameters(model) == weights == 14_728_266
    assert graph.macs(model) == products + 512 * 10 == 313_201_664
    second = next(row for row in graph.count(model) if row.name == "block1_conv2")
    assert second.parameters == 3 * 3 * 64 * 64 + 64 == 36_928
    assert second.macs == 32 * 32 * 3 * 3 * 64 * 64 == 37_748_736


def test_smallest_image():
    assert models.build("vgg16", (32, 32, 3), 10, width=0.1).output_shape == (None, 10)
    with pytest.raises(InputError, match="can't take images of 31x32 pixels"):
        models.build("vgg16", (31, 32, 3), 10, width=0.1)
