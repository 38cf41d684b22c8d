"""How weights can be written into a `.tflite` file, by name."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Storage:
    """One way to write weights.

    Attributes:
        name: the value of `--storage`.
        summary: one line for `--list`, with what it costs.
        activations: how binary inputs are written: `signed` (-1, +1) or `unit` (0, 1).
        quantize: which ops get 8-bit weights: `none`, `binary` (those whose inputs are bits and
            whose weights are binary) or `all` (every convolution and dense op).
        max_abs: the largest difference of an output from Keras's that the parity check lets
            through, as a share of the largest output.
        min_agreement: the share of images whose label must be Keras's.
    """

    name: str
    summary: str
    activations: str
    quantize: str
    max_abs: float
    min_agreement: float


STORAGES = {
    storage.name: storage
    for storage in (
        Storage(
            name="float32",
            summary="4 bytes a weight; exact",
            activations="signed",
            quantize="none",
            max_abs=1e-5,
            min_agreement=1.0,
        ),
        Storage(
            name="int8",
            summary=(
                "1 byte a weight of the layers with binary weights and binary inputs, whose "
                "activations are written as 0 and 1; all others float; exact"
            ),
            activations="unit",
            quantize="binary",
            max_abs=1e-5,
            min_agreement=1.0,
        ),
        Storage(
            name="dynamic",
            summary=(
                "1 byte a weight of every convolution and dense layer, activations quantised to 8 "
                "bits as the file runs; outputs differ by about 1%"
            ),
            activations="unit",
            quantize="all",
            max_abs=0.1,
            min_agreement=0.95,
        ),
    )
}
