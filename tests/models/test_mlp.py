import numpy as np
import pytest

from tests import checks
from tfcompress import graph, models
from tfcompress.errors import InputError


def test_pinned_counts():
    model = models.build("mlp", (8,), 1)
    products = 8 * 128 + 2 * 128 * 128 + 128
    assert graph.parameters(model) == products + 3 * 128 + 1 == 34_305
    assert graph.macs(model) == products == 33_920
    assert model.output_shape == (None, 1)


def test_hidden_layers_and_any_shape():
    model = models.build("mlp", (4, 3), 5, hidden=(16, 24), width=0.5)
    assert graph.parameters(model) == (12 * 8 + 8) + (8 * 16 + 16) + (16 * 5 + 5)


def test_values_are_given_in_their_own_range():
    model = models.build("mlp", (8,), 2, output_mean=(100.0, -5.0), output_std=(10.0, 0.5))
    bare = models.build("mlp", (8,), 2)
    bare.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")
    expected = checks.predict(bare, x) * [10.0, 0.5] + [100.0, -5.0]
    np.testing.assert_allclose(checks.predict(model, x), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": ()}, "hidden must be units of one or more layers"),
        ({"hidden": (8, 0)}, r"each positive; got \(8, 0\)"),
        ({"output_std": (1.0, 2.0, 3.0)}, "output_std must have a value for each of 2 outputs"),
        ({"dropout": 1.0}, "dropout must be in"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        models.build("mlp", (8,), 2, **options)


def test_bad_shapes():
    for shape in ((), (8, 0), (1, 2, 3, 4)):
        with pytest.raises(InputError, match=r"must be \(features,\) or up to three axes, all pos"):
            models.build("mlp", shape, 2)
    with pytest.raises(InputError, match="num_classes must be 1 or more; got 0"):
        models.build("mlp", (8,), 0)
