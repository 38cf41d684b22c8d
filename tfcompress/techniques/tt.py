"""Tensor-train: dense layers and convolutions as chains of small products."""

from __future__ import annotations

from tfcompress.config import Training
from tfcompress.layers import TTConv2D, TTDense
from tfcompress.techniques._factorise import FactoriseOptions, factorise, training
from tfcompress.techniques.base import Candidate, Start, Technique


def _transform(candidate: Candidate, options: FactoriseOptions) -> Candidate:
    return factorise(candidate, options, (TTConv2D, TTDense), title="tt", spatial_only=False)


def _training(options: FactoriseOptions) -> Training:
    return training()


TECHNIQUE = Technique(
    name="tt",
    summary="dense layers and convolutions as chains of small products (tensor-train)",
    reference=(
        "Novikov, Podoprikhin, Osokin, Vetrov 2015, arXiv:1509.06569; of convolutions Garipov et "
        "al. 2016, arXiv:1611.03214"
    ),
    options=FactoriseOptions,
    start=Start.TRAINED,
    transform=_transform,
    training=_training,
    storage="float32",
)
