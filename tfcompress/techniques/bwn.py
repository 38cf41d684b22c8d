"""Binary-Weight-Network: binary weights, float activations."""

from __future__ import annotations

from tfcompress.techniques._binary import technique
from tfcompress.techniques._recipes import WeightOptions

TECHNIQUE = technique(
    name="bwn",
    summary="binary weights with a scale for each filter, float activations (BWN)",
    reference="Rastegari, Ordonez, Redmon, Farhadi 2016, arXiv:1603.05279, section 3.1",
    options=WeightOptions,
    binarize_inputs=False,
    binarize_kernel=True,
    epochs=10,
    storages=("dynamic",),
    aliases=("binary_weight_network", "magnitude_aware_sign"),
)
