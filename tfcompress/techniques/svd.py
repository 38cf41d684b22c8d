"""Singular value decomposition: dense layers and convolutions as products of two."""

from __future__ import annotations

from tfcompress.config import Training
from tfcompress.layers import LowRankConv2D, LowRankDense
from tfcompress.techniques._factorise import SpectrumOptions, factorise, training
from tfcompress.techniques.base import Candidate, Start, Technique


def _transform(candidate: Candidate, options: SpectrumOptions) -> Candidate:
    return factorise(
        candidate, options, (LowRankConv2D, LowRankDense), title="svd", spatial_only=False
    )


def _training(options: SpectrumOptions) -> Training:
    return training()


TECHNIQUE = Technique(
    name="svd",
    summary="dense layers and convolutions of fewer filters, each with a 1x1 behind it (SVD)",
    reference=(
        "Denton, Zaremba, Bruna, LeCun, Fergus 2014, arXiv:1404.0736, section 3.2; of convolutions "
        "Zhang et al. 2016, arXiv:1505.06798, section 3.1"
    ),
    options=SpectrumOptions,
    start=Start.TRAINED,
    transform=_transform,
    training=_training,
    storage="float32",
)
