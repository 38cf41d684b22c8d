"""Post-training quantization with 4-bit weights: half of `int8`'s file, at some accuracy."""

from __future__ import annotations

from tfcompress.techniques._quantise import technique

TECHNIQUE = technique(
    name="int8_int4",
    summary="4-bit weights (depthwise ones 8-bit) and 8-bit activations without training",
    reference="Krishnamoorthi 2018, arXiv:1806.08342; Banner, Nahshan, Soudry 2019, "
    "arXiv:1810.05723",
    reason="int4 weights, one scale a filter; int8 activations",
    depthwise_reason="int8 weights, one scale a filter; int8 activations",
)
