"""XNOR-Net: binary weights and binary activations."""

from __future__ import annotations

from tfcompress.techniques import _binary, _recipes
from tfcompress.techniques.base import Property, Technique

_SURGERY = _binary.transform(binarize_inputs=True, binarize_kernel=True)

TECHNIQUE = Technique(
    name="xnor",
    summary="binary weights and binary activations (XNOR-Net)",
    reference="Rastegari, Ordonez, Redmon, Farhadi 2016, arXiv:1603.05279",
    options=_recipes.InputOptions,
    transform=_SURGERY,
    check=_SURGERY,
    training=_recipes.training(epochs=20),
    storage="int8",
    produces=frozenset({Property.BINARY}),
)
