"""Two-component decomposition: convolutions as vertical and horizontal ones."""

from __future__ import annotations

from tfcompress.ops import reconstruct
from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import ReconstructionOptions

TECHNIQUE = technique(
    name="spatial",
    summary="convolutions as a vertical and a horizontal one",
    reference="Jaderberg, Vedaldi, Zisserman 2014, arXiv:1405.3866, section 2",
    options=ReconstructionOptions,
    forms=("SpatialSeparableConv2D",),
    spatial_only=True,
    approximate=reconstruct.separable,
)
