"""Binary-Weight-Network: binary weights, float activations."""

from __future__ import annotations

from tfcompress.techniques import _binary, _recipes
from tfcompress.techniques.base import Property, Technique

_SURGERY = _binary.transform(binarize_inputs=False, binarize_kernel=True)

TECHNIQUE = Technique(
    name="bwn",
    summary="binary weights with a scale for each filter, float activations (BWN)",
    reference="Rastegari, Ordonez, Redmon, Farhadi 2016, arXiv:1603.05279, section 3.1",
    options=_recipes.WeightOptions,
    transform=_SURGERY,
    check=_SURGERY,
    training=_recipes.training(epochs=10),
    storage="dynamic",
    produces=frozenset({Property.BINARY}),
)
