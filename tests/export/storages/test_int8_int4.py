"""8-bit activations, 4-bit weights; what they compute: test_calibrate.py."""

# What the contract holds the storage to.
LIMITS = {"usual": (1.0, 0.75, 0.5)}
