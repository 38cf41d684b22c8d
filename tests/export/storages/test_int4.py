"""4-bit weights; what they compute: test_low_bits.py, test_build.py."""

from tests.export.storages.limits import EXACT

# What the contract holds the storage to.
LIMITS = {"usual": (1.0, 0.75, 0.5), "binary": EXACT}
