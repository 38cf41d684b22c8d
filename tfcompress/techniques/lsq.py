"""Weights, and activations, of 2 to 8 bits whose steps are trained with them."""

from __future__ import annotations

import dataclasses

from tfcompress.errors import require
from tfcompress.options import searched
from tfcompress.techniques._few_bits import technique


@dataclasses.dataclass(frozen=True, kw_only=True)
class LsqOptions:
    """Hyper-parameters of learned steps.

    Attributes:
        bits: of a weight, 2 to 8; 3 bits are stored in 4.
        activation_bits: of the inner layers' inputs, 2 to 8, with a trained step for each layer;
            the first and the last layer then have weights and inputs of 8 bits. 32 leaves all
            activations floats. `--storage=int8` holds them on the trained grids; fewer than 8 bits
            make no file smaller and no runtime faster.
    """

    bits: int = searched(4, 2, 4, 8, grows=1)
    activation_bits: int = 32

    def __post_init__(self) -> None:
        """Refuses what the layer would."""
        require(2 <= self.bits <= 8, f"option bits must be from 2 to 8; got {self.bits}")
        require(
            self.activation_bits in (*range(2, 9), 32),
            f"option activation_bits must be from 2 to 8, or 32; got {self.activation_bits}",
        )


TECHNIQUE = technique(
    name="lsq",
    summary="weights of 2 to 8 bits in inner layers, the steps between their values trained",
    reference="Esser, McKinstry, Bablani, Appuswamy, Modha 2020, arXiv:1902.08153",
    options=LsqOptions,
    wrapper="LearnedStepWeights",
    config=lambda options: {"num_bits": options.bits},
    becomes=lambda options: f"weights of {options.bits} bits, a trained step for each filter",
    signs_kept=True,
    epochs=10,
    storages=("dynamic", "int4", "int2"),
    activations=lambda options: (
        None
        if options.activation_bits == 32
        else {"num_bits": options.activation_bits, "trained": "step"}
    ),
)
