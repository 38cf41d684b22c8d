"""2-bit weights; what they compute: test_low_bits.py, test_build.py."""

from tests.export.conftest import binary_net
from tests.export.storages.limits import EXACT, NONE

# What the contract holds the storage to.
LIMITS = {"usual": (0.1, 0.95, NONE), "binary": EXACT}
NET = binary_net
