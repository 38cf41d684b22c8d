"""16-bit floats; what they compute: test_calibrate.py."""

# What the contract holds the storage to.
LIMITS = {"usual": (5e-3, 0.98, 2e-3)}
