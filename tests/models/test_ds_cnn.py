import keras
import pytest

from tfcompress import graph, models
from tfcompress.errors import InputError


def test_pinned_counts():
    model = models.build("ds_cnn", (49, 10, 1), 12)
    kernels = 10 * 4 * 64 + 4 * (9 * 64 + 64 * 64) + 64 * 12
    norms = 9 * 2 * 64
    assert graph.parameters(model) == kernels + norms + 12 == 23_180
    assert kernels + norms // 2 + 12 == 22_604
    assert model.count_params() == 23_180 + norms
    positions = 25 * 5
    products = positions * (10 * 4 * 64 + 4 * (9 * 64 + 64 * 64)) + 64 * 12
    assert graph.macs(model) == products == 2_656_768


def test_blocks():
    two = models.build("ds_cnn", (16, 16, 1), 3, blocks=2)
    assert graph.parameters(two) == 2560 + 128 + 2 * (9 * 64 + 64 * 64 + 4 * 64) + 64 * 3 + 3


def test_as_the_reference_model_of_mlperf_tiny():
    options = {"use_bias": True, "pool": (24, 5), "first_dropout": 0.2, "dropout": 0.4}
    model = models.build("ds_cnn", (49, 10, 1), 12, **options)
    assert graph.parameters(model) == 23_180 + 9 * 64 == 23_756
    assert model.count_params() == 24_908
    assert graph.macs(model) == 2_656_768
    assert model.get_layer("pool").output.shape[1:] == (1, 1, 64)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.2, 0.4]


@pytest.mark.parametrize("pool", [(8,), (9, 8), (8, 0)])
def test_windows_that_dont_fit(pool):
    message = r"pool must be height and width of a window of at most \(8, 8\); got \("
    with pytest.raises(InputError, match=message):
        models.build("ds_cnn", (16, 16, 1), 3, pool=pool)
