"""Floats; what they compute: test_write.py."""

from tests.export.storages.limits import EXACT

# What the contract holds the storage to.
LIMITS = {"usual": EXACT, "binary": EXACT, "simulated": (0.1, 0.95, 0.02)}
