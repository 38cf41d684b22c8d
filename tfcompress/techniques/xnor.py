"""XNOR-Net: binary weights and binary activations."""

from __future__ import annotations

from tfcompress.techniques._binary import technique
from tfcompress.techniques._recipes import EndOptions

TECHNIQUE = technique(
    name="xnor",
    summary="binary weights and binary activations (XNOR-Net)",
    reference="Rastegari, Ordonez, Redmon, Farhadi 2016, arXiv:1603.05279",
    options=EndOptions,
    binarize_inputs=True,
    binarize_kernel=True,
    epochs=20,
    # Integers for any runtime; bits where our kernels run them.
    storages=("int8", "xnor"),
    aliases=("xnor_net",),
)
