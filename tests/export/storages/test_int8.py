"""8-bit integers; what they compute: test_calibrate.py, test_fake_quantize.py."""

from tests.export.storages.limits import EXACT

# What the contract holds the storage to.
LIMITS = {"usual": (0.5, 0.9, 0.15), "binary": EXACT, "trained": (0.25, 0.9, 0.1)}
