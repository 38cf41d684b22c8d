import numpy as np
import pytest

from tests import checks
from tfcompress import graph, models
from tfcompress.errors import InputError


def test_pinned_counts():
    model = models.build("squeezenet", (224, 224, 3), 8)
    weights, channels = 3 * 3 * 3 * 64 + 64, 64
    for squeeze, expand in [(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2:
        weights += channels * squeeze + squeeze
        weights += (squeeze * expand + expand) + (9 * squeeze * expand + expand)
        channels = 2 * expand
    weights += channels * 8 + 8
    assert graph.parameters(model) == model.count_params() == weights == 726_600
    assert round(weights * 4 / 2**20, 1) == 2.8


def test_smallest_image():
    model = models.build("squeezenet", (3, 3, 3), 4, width=0.1)
    assert np.isfinite(checks.predict(model, np.ones((1, 3, 3, 3), "float32"))).all()
    with pytest.raises(InputError, match="can't take images of 2x3 pixels"):
        models.build("squeezenet", (2, 3, 3), 4, width=0.1)
