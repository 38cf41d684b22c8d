"""Two-component decomposition: convolutions as vertical and horizontal ones."""

from __future__ import annotations

from tfcompress.config import Training
from tfcompress.layers import SpatialSeparableConv2D
from tfcompress.techniques._factorise import SpectrumOptions, factorise, training
from tfcompress.techniques.base import Candidate, Start, Technique


def _transform(candidate: Candidate, options: SpectrumOptions) -> Candidate:
    return factorise(
        candidate, options, (SpatialSeparableConv2D,), title="spatial", spatial_only=True
    )


def _training(options: SpectrumOptions) -> Training:
    return training()


TECHNIQUE = Technique(
    name="spatial",
    summary="convolutions as a vertical and a horizontal one",
    reference="Jaderberg, Vedaldi, Zisserman 2014, arXiv:1405.3866, section 2",
    options=SpectrumOptions,
    start=Start.TRAINED,
    transform=_transform,
    training=_training,
    storage="float32",
)
