"""Compressed layers for Keras 3, usable in anybody's model and on any Keras backend."""

from tfcompress.layers.binary_conv2d import BinaryConv2D
from tfcompress.layers.binary_dense import BinaryDense
from tfcompress.layers.clip_weights import ClipWeights

__all__ = ["BinaryConv2D", "BinaryDense", "ClipWeights"]
