import pytest

from tfcompress import graph, models
from tfcompress.errors import InputError


def test_pinned_counts():
    model = models.build("toy_autoencoder", (640,), 640)
    products = 2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8
    hidden = 8 * 128 + 8
    assert graph.parameters(model) == products + hidden + 2 * hidden + 640 == 267_928
    assert model.count_params() == 267_928 + 2 * hidden == 269_992
    assert graph.macs(model) == products == 264_192
    assert model.output_shape == (None, 640)


def test_hidden_layers():
    model = models.build("toy_autoencoder", (4, 3), 12, hidden=(16, 8))
    assert graph.parameters(model) == (12 * 16 + 48) + (16 * 8 + 24) + (8 * 12 + 12)
    with pytest.raises(InputError, match=r"hidden must be units of .* each positive; got \(0,\)"):
        models.build("toy_autoencoder", (12,), 12, hidden=(0,))
