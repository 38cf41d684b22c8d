"""Lookup-based convolutions; what the decompositions share: test_factorise.py."""

import pytest

import tfcompress
from tests.techniques.counts import ENDS, NORMS
from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.layers import LookupConv2D

# Dictionaries are the largest within a quarter of the MACs: 1 vector of 8 channels, and 3 of 16,
# all of which each place takes. The convolutions' biases are off, BN stays.
PARAMETERS = ENDS + NORMS + (8 * 1 + 9 * 1 * 16) + (16 * 3 + 9 * 3 * 16)


def test_dictionaries_and_coefficients_of_the_small_network(small):
    technique = techniques.get("lcnn")
    options = technique.make_options(ranks={"conv3": 6}, coefficients=2)
    got = technique.transform(techniques.Candidate(small()), options)
    layer = got.model.get_layer("conv3")
    assert isinstance(layer, LookupConv2D)
    assert (layer.rank, layer.coefficients) == (6, 2)
    (reason,) = [line.reason for line in got.layers if line.name == "conv3"]
    assert "MACs 0.04 M -> 0.02 M (0.01 M without those with 0), weights 2,304 -> 384" in reason


@pytest.mark.slow
def test_files_with_the_zeros_and_without(small, tmp_path):
    thin = tfcompress.transform(small(), "lcnn", ranks={"conv3": 8}, coefficients=1)
    sizes = [
        tfcompress.export(thin, tmp_path / f"{storage}.tflite", storage=storage).size_bytes
        for storage in techniques.get("lcnn").storages
    ]
    zeros = 9 * 7 * 16
    assert 0 < sizes[0] - sizes[1] < 4 * zeros


def test_bad_options():
    technique = techniques.get("lcnn")
    for option in ("coefficients", "rounds"):
        with pytest.raises(InputError, match=f"option {option} must be 1 or more; got 0"):
            technique.make_options(**{option: 0})
    with pytest.raises(InputError, match="decomposition_seed must be 0 or more; got -1"):
        technique.make_options(decomposition_seed=-1)
