"""Holds the pure maths, on `keras.ops` or NumPy: no layers, no models, no files."""
