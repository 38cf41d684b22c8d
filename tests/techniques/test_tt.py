"""Tensor-train; what the decompositions share: test_factorise.py."""

import numpy as np

import tfcompress
from tests.techniques.counts import ENDS, NORMS
from tfcompress.layers import TTConv2D

# Ranks are the largest within a quarter of the MACs; the convolutions' biases are off, BN stays.
# 8 channels as 2 * 4, 16 as 4 * 4; all bonds are 1.
PARAMETERS = ENDS + NORMS + (9 + 2 * 4 + 4 * 4) + (9 + 4 * 4 + 4 * 4)


def test_ranks_of_the_small_network(small):
    thin = tfcompress.transform(small(), "tt")
    for layer in ("conv2", "conv3"):
        assert type(thin.get_layer(layer)) is TTConv2D
        assert set(np.atleast_1d(thin.get_layer(layer).rank)) == {1}
