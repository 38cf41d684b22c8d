"""Post-training quantization: 8-bit integers for weights and activations, with no training.

The ranges of the activations are taken from training images; each filter has a scale of its own.
"""

from __future__ import annotations

from tfcompress.techniques._quantise import technique

TECHNIQUE = technique(
    name="int8",
    summary="8-bit integer weights and activations without training, ranges from 256 images",
    reference="Jacob et al. 2018, arXiv:1712.05877; Krishnamoorthi 2018, arXiv:1806.08342",
    reason="int8 weights, one scale a filter; int8 activations",
)
