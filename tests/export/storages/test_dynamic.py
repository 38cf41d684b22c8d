"""Integer weights beside float activations; what they compute: test_convert.py, test_build.py."""

from tests.export.storages.limits import NONE

# What the contract holds the storage to.
LIMITS = {"usual": (0.1, 0.95, NONE)}
