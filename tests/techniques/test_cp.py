"""CP decomposition; what the decompositions share: test_factorise.py."""

import tfcompress
from tests.techniques.counts import ENDS, NORMS
from tfcompress.layers import CPConv2D

# Ranks are the largest within a quarter of the MACs; the convolutions' biases are off, BN stays.
PARAMETERS = ENDS + NORMS + 9 * (8 + 3 + 3 + 16) + 15 * (16 + 3 + 3 + 16)


def test_ranks_of_the_small_network(small):
    thin = tfcompress.transform(small(), "cp")
    for layer, rank in (("conv2", 9), ("conv3", 15)):
        assert type(thin.get_layer(layer)) is CPConv2D
        assert thin.get_layer(layer).rank == rank
