"""Low-rank layers; what the decompositions share: test_factorise.py."""

import tfcompress
from tests.techniques.counts import ENDS, NORMS
from tfcompress.layers import LowRankConv2D

# Ranks are the largest within a quarter of the MACs; the convolutions' biases are off, BN stays.
PARAMETERS = ENDS + NORMS + 3 * (9 * 8 + 16) + 3 * (9 * 16 + 16)


def test_ranks_of_the_small_network(small):
    thin = tfcompress.transform(small(), "svd")
    for layer, rank in (("conv2", 3), ("conv3", 3)):
        assert type(thin.get_layer(layer)) is LowRankConv2D
        assert thin.get_layer(layer).rank == rank
