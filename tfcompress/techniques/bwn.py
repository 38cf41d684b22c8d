"""Binary-Weight-Network: binary weights, float activations."""

from __future__ import annotations

from tfcompress.config import Training
from tfcompress.techniques import _recipes
from tfcompress.techniques._binary import binarise
from tfcompress.techniques.base import Candidate, Start, Technique


def _transform(candidate: Candidate, options: _recipes.WeightOptions) -> Candidate:
    return binarise(
        candidate,
        binarize_inputs=False,
        binarize_kernel=True,
        activation="keep",
        keep_weights=options.keep_weights,
        clip_value=options.clip_value,
    )


def _training(options: _recipes.WeightOptions) -> Training:
    return _recipes.training(options, epochs=10)


TECHNIQUE = Technique(
    name="bwn",
    summary="binary weights with a scale for each filter, float activations (BWN)",
    reference="Rastegari, Ordonez, Redmon, Farhadi 2016, arXiv:1603.05279, section 3.1",
    options=_recipes.WeightOptions,
    start=Start.TRAINED,
    transform=_transform,
    training=_training,
    storage="dynamic",
)
