"""Singular value decomposition: dense layers and convolutions as products of two."""

from __future__ import annotations

from tfcompress.ops import reconstruct
from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import ReconstructionOptions

TECHNIQUE = technique(
    name="svd",
    summary="dense layers and convolutions of fewer filters, each with a 1x1 behind it (SVD)",
    reference=(
        "Denton, Zaremba, Bruna, LeCun, Fergus 2014, arXiv:1404.0736, section 3.2; of convolutions "
        "Zhang et al. 2016, arXiv:1505.06798, section 3.1"
    ),
    options=ReconstructionOptions,
    forms=("LowRankConv2D", "LowRankDense"),
    approximate=reconstruct.low_rank,
)
