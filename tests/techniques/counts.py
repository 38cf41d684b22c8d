"""Parameter counts of the small network's parts, written out; see `conftest.small`."""

# conv1, its BN's gamma and beta, and the last dense layer of 4x4x16 features.
ENDS = 3 * 3 * 3 * 8 + 2 * 8 + 4 * 4 * 16 * 4 + 4
CONV2, CONV3 = 3 * 3 * 8 * 16, 3 * 3 * 16 * 16
# Gamma and beta behind both.
NORMS = 2 * 16 + 2 * 16
# The network as it is.
PLAIN = ENDS + CONV2 + CONV3 + NORMS
# BN before each inner convolution, a bias in it, one slope a channel behind it.
SIGNED = ENDS + (2 * 8 + CONV2 + 16 + 16) + (2 * 16 + CONV3 + 16 + 16)
