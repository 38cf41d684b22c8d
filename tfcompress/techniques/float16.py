"""Weights as 16-bit floats: half the file, the same computation."""

from __future__ import annotations

from tfcompress.techniques._quantise import technique

TECHNIQUE = technique(
    name="float16",
    summary="weights as 16-bit floats: half the file, no faster on a CPU",
    reference="IEEE 754-2019, binary16",
    reason="float16 weights, expanded to float32 when the file is loaded",
)
