"""Activations of a few bits below a bound that is trained, and DoReFa's weights or SAWB's."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from tfcompress.errors import one_of, require
from tfcompress.techniques._few_bits import check_bits, technique

Weights = Literal["dorefa", "sawb"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PactOptions:
    """Hyper-parameters of parameterised clipping activations.

    Attributes:
        weight_bits: of the inner layers' weights, 1 to 8, by DoReFa-Net (as in the paper, section
            4).
        activation_bits: of their inputs, 1 to 8.
        weights: how they are rounded: as `dorefa` does, or by `sawb` (Choi et al. 2018,
            arXiv:1807.06964), whose bound follows from the weights' mean size and root mean
            square; of 2, 3, 4, 5 or 8 bits.
        clip_l2: factor of the L2 penalty on the bounds, which brings them down. This project's.
    """

    weight_bits: int = 4
    activation_bits: int = 4
    weights: Weights = "dorefa"
    clip_l2: float = 2e-4

    def __post_init__(self) -> None:
        """Refuses what the layers would."""
        check_bits("weight_bits", self.weight_bits, range(1, 9))
        one_of("option weights", self.weights, get_args(Weights))
        require(
            self.weights == "dorefa" or self.weight_bits in (2, 3, 4, 5, 8),
            f"option weight_bits must be 2, 3, 4, 5 or 8 with weights=sawb; got {self.weight_bits}",
        )
        check_bits("activation_bits", self.activation_bits, range(1, 9))
        require(self.clip_l2 >= 0, f"option clip_l2 must be 0 or more; got {self.clip_l2}")


TECHNIQUE = technique(
    name="pact",
    summary="activations of a few bits below trained bounds, weights of a few bits as dorefa's",
    reference="Choi, Wang, Venkataramani, Chuang, Srinivasan, Gopalakrishnan 2018, "
    "arXiv:1805.06085; 2018, arXiv:1807.06964",
    options=PactOptions,
    wrapper="DoReFaWeights",
    config=lambda options: {
        "num_bits": options.weight_bits,
        "binning": "statistics" if options.weights == "sawb" else "tanh",
    },
    becomes=lambda options: f"weights of {options.weight_bits} bits on even levels without 0",
    signs_kept=False,
    epochs=10,
    storages=("int8",),
    activations=lambda options: {
        "num_bits": options.activation_bits,
        "trained": "clip",
        "clip_l2": options.clip_l2,
    },
)
