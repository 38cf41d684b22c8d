"""Tucker decomposition; what the decompositions share: test_factorise.py."""

import tfcompress
from tests.techniques.counts import ENDS, NORMS
from tfcompress.layers import TuckerConv2D

# Ranks are the largest within a quarter of the MACs; the convolutions' biases are off, BN stays.
PARAMETERS = ENDS + NORMS + (8 * 3 + 9 * 3 * 6 + 6 * 16) + (16 * 6 + 9 * 6 * 6 + 6 * 16)


def test_ranks_of_the_small_network(small):
    thin = tfcompress.transform(small(), "tucker")
    for layer, rank in (("conv2", (3, 6)), ("conv3", (6, 6))):
        assert type(thin.get_layer(layer)) is TuckerConv2D
        assert thin.get_layer(layer).rank == rank
