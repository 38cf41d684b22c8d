"""Biclustering; what the decompositions share: test_factorise.py."""

import pytest

import tfcompress
from tests.techniques.counts import ENDS, NORMS
from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.layers import BiclusteredConv2D

# Ranks are the largest within a quarter of the MACs, which count the zeros, too: 4 blocks of 2 and
# 3 outer products. The convolutions' biases are off, BN stays.
PARAMETERS = ENDS + NORMS + 2 * (8 * 2 + 9 * 2 * 2 + 2 * 16) + 3 * (16 * 2 + 9 * 2 * 2 + 2 * 16)


def test_clusters_and_ranks_of_the_small_network(small):
    thin = tfcompress.transform(small(), "biclustering")
    assert [thin.get_layer(name).rank for name in ("conv2", "conv3")] == [2, 3]
    thin = tfcompress.transform(small(), "biclustering", input_clusters=4, output_clusters=1)
    layer = thin.get_layer("conv2")
    assert isinstance(layer, BiclusteredConv2D)
    assert (layer.input_clusters, layer.output_clusters) == (4, 1)


def test_bad_options():
    technique = techniques.get("biclustering")
    for option in ("input_clusters", "output_clusters", "iterations"):
        with pytest.raises(InputError, match=f"option {option} must be 1 or more; got 0"):
            technique.make_options(**{option: 0})
    with pytest.raises(InputError, match="decomposition_seed must be 0 or more; got -1"):
        technique.make_options(decomposition_seed=-1)
