"""Tensor-train: dense layers and convolutions as chains of small products."""

from __future__ import annotations

from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import FactoriseOptions

TECHNIQUE = technique(
    name="tt",
    summary="dense layers and convolutions as chains of small products (tensor-train)",
    reference=(
        "Novikov, Podoprikhin, Osokin, Vetrov 2015, arXiv:1509.06569; of convolutions Garipov et "
        "al. 2016, arXiv:1611.03214"
    ),
    options=FactoriseOptions,
    forms=("TTConv2D", "TTDense"),
)
