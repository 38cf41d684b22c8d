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


def test_pools_stand_where_version_1_1_has_them():
    """Before fire2, fire4 and fire6; version 1.0 has them later, at 2.4 times the MACs."""
    model = models.build("squeezenet", (224, 224, 3), 8)
    sizes = [model.get_layer(f"fire{number}_concat").output.shape[1] for number in range(2, 10)]
    assert model.get_layer("conv1").output.shape[1] == 111
    assert sizes == [56, 56, 28, 28, 14, 14, 14, 14]


def test_fire_modules_are_layers_of_the_network():
    """Built-in ones, each with a name of its own, so that every technique finds them."""
    model = models.build("squeezenet", (32, 32, 3), 8)
    names = [layer.name for layer in model.layers if layer.name.startswith("fire2")]
    assert names == ["fire2_squeeze1x1", "fire2_expand1x1", "fire2_expand3x3", "fire2_concat"]
    kinds = {type(layer).__name__ for layer in model.layers if layer.name.startswith("fire")}
    assert kinds == {"Conv2D", "Concatenate"}
    paddings = [model.get_layer(name).padding for name in names[:3]]
    assert paddings == ["valid", "valid", "same"]  # As saved files of it have them.
