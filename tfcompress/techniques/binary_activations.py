"""Binary activations with float weights: XNOR-Net without weight binarisation."""

from __future__ import annotations

from tfcompress.techniques._binary import technique
from tfcompress.techniques._recipes import InputOptions

TECHNIQUE = technique(
    name="binary_activations",
    summary="binary activations, float weights: what the activations alone cost",
    reference=(
        "Rassadin and Savchenko 2017, 'XNOR-Net without weight binarisation'; after Rastegari et "
        "al. 2016, arXiv:1603.05279"
    ),
    options=InputOptions,
    binarize_inputs=True,
    binarize_kernel=False,
    epochs=20,
    storages=("float32",),
)
