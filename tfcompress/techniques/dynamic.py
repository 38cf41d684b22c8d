"""8-bit weights, and activations whose ranges are found as the file runs."""

from __future__ import annotations

from tfcompress.techniques._quantise import technique

TECHNIQUE = technique(
    name="dynamic",
    summary="8-bit weights; activations rounded to 8 bits by their range in each image",
    reference="Krishnamoorthi 2018, arXiv:1806.08342; TensorFlow Lite's dynamic range quantization",
    reason="int8 weights, one scale a filter; activations rounded as the file runs",
)
