"""Binary activations with float weights: XNOR-Net without weight binarisation."""

from __future__ import annotations

from tfcompress.config import Training
from tfcompress.techniques import _recipes
from tfcompress.techniques._binary import binarise
from tfcompress.techniques.base import Candidate, Start, Technique


def _transform(candidate: Candidate, options: _recipes.InputOptions) -> Candidate:
    return binarise(
        candidate,
        binarize_inputs=True,
        binarize_kernel=False,
        activation=options.block_activation,
        keep_weights=options.keep_weights,
        clip_value=options.clip_value,
    )


def _training(options: _recipes.InputOptions) -> Training:
    return _recipes.training(options, epochs=20)


TECHNIQUE = Technique(
    name="binary_activations",
    summary="binary activations, float weights: what the activations alone cost",
    reference=(
        "Rassadin and Savchenko 2017, 'XNOR-Net without weight binarisation'; after Rastegari et "
        "al. 2016, arXiv:1603.05279"
    ),
    options=_recipes.InputOptions,
    start=Start.TRAINED,
    transform=_transform,
    training=_training,
    storage="float32",
)
