import pytest

from tfcompress.graph import free_name


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (set(), "conv"),
        ({"conv1", "con"}, "conv"),
        ({"conv"}, "conv_1"),
        ({"conv", "conv_1", "conv_2"}, "conv_3"),
        (["conv", "conv_2"], "conv_1"),
        ({"conv": 1}, "conv_1"),
    ],
)
def test_free_name(taken, name):
    assert free_name("conv", taken) == name
