"""Binary activations with float weights: XNOR-Net without weight binarisation."""

from __future__ import annotations

from tfcompress.techniques import _binary, _recipes
from tfcompress.techniques.base import Property, Technique

_SURGERY = _binary.transform(binarize_inputs=True, binarize_kernel=False)

TECHNIQUE = Technique(
    name="binary_activations",
    summary="binary activations, float weights: what the activations alone cost",
    reference=(
        "Rassadin and Savchenko 2017, 'XNOR-Net without weight binarisation'; after Rastegari et "
        "al. 2016, arXiv:1603.05279"
    ),
    options=_recipes.InputOptions,
    transform=_SURGERY,
    check=_SURGERY,
    training=_recipes.training(epochs=20),
    storage="float32",
    produces=frozenset({Property.BINARY}),
)
