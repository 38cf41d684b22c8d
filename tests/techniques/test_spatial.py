"""Vertical and horizontal convolutions; what the decompositions share: test_factorise.py."""

import tfcompress
from tests.techniques.counts import ENDS, NORMS
from tfcompress.layers import SpatialSeparableConv2D

# Ranks are the largest within a quarter of the MACs; the convolutions' biases are off, BN stays.
PARAMETERS = ENDS + NORMS + 4 * 3 * (8 + 16) + 6 * 3 * (16 + 16)


def test_ranks_of_the_small_network(small):
    thin = tfcompress.transform(small(), "spatial")
    for layer, rank in (("conv2", 4), ("conv3", 6)):
        assert type(thin.get_layer(layer)) is SpatialSeparableConv2D
        assert thin.get_layer(layer).rank == rank
