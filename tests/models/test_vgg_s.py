import keras
import pytest

from tfcompress import graph, models
from tfcompress.errors import InputError


def test_pinned_counts():
    with keras.StatelessScope():  # Its variables have shapes, but no 372 MiB of values.
        model = models.build("vgg_s", (224, 224, 3), 8)
    convolutions = [
        (7 * 7 * 3 * 96, 96),
        (5 * 5 * 96 * 256, 256),
        (3 * 3 * 256 * 512, 512),
        (3 * 3 * 512 * 512, 512),
        (3 * 3 * 512 * 512, 512),
    ]
    weights = sum(kernel + 3 * filters for kernel, filters in convolutions)  # bias, gamma, beta
    weights += (6 * 6 * 512 * 4048 + 4048) + (4048 * 4048 + 4048) + (4048 * 8 + 8)
    assert graph.parameters(model) == weights == 97_571_944
    assert weights * 4 / 2**20 == pytest.approx(372.2, abs=0.05)
    sizes = {row.name: row.output_shape[1:3] for row in graph.count(model)}
    assert [sizes[f"conv{number}"] for number in (1, 2, 5)] == [(110, 110), (35, 35), (18, 18)]
    assert [sizes[f"pool{number}"] for number in (1, 2, 5)] == [(37, 37), (18, 18), (6, 6)]


def test_smallest_image():
    assert models.build("vgg_s", (17, 17, 3), 8, width=0.01).output_shape == (None, 8)
    with pytest.raises(InputError, match="can't take images of 16x17 pixels"):
        models.build("vgg_s", (16, 17, 3), 8, width=0.01)
