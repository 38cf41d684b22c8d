"""Tucker decomposition: convolutions as 1x1, a small core, 1x1."""

from __future__ import annotations

from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import SpectrumOptions

TECHNIQUE = technique(
    name="tucker",
    summary="convolutions as 1x1, a small core and 1x1 (Tucker decomposition)",
    reference="Kim, Park, Yoo, Choi, Yang, Shin 2016, arXiv:1511.06530, section 3",
    options=SpectrumOptions,
    forms=("TuckerConv2D",),
    spatial_only=True,
)
