"""Activations of a few bits below a bound that is trained, and DoReFa's weights."""

from __future__ import annotations

import dataclasses

from tfcompress.errors import require
from tfcompress.techniques._few_bits import technique
from tfcompress.techniques.dorefa import check_bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class PactOptions:
    """Hyper-parameters of parameterised clipping activations.

    Attributes:
        weight_bits: of the inner layers' weights, 1 to 8, by DoReFa-Net (as in the paper, section
            4).
        activation_bits: of their inputs, 1 to 8.
        clip_l2: factor of the L2 penalty on the bounds, which brings them down. This project's.
    """

    weight_bits: int = 4
    activation_bits: int = 4
    clip_l2: float = 2e-4

    def __post_init__(self) -> None:
        """Refuses what the layers would."""
        check_bits("weight_bits", self.weight_bits, range(1, 9))
        check_bits("activation_bits", self.activation_bits, range(1, 9))
        require(self.clip_l2 >= 0, f"option clip_l2 must be 0 or more; got {self.clip_l2}")


TECHNIQUE = technique(
    name="pact",
    summary="activations of a few bits below trained bounds, weights of a few bits as dorefa's",
    reference="Choi, Wang, Venkataramani, Chuang, Srinivasan, Gopalakrishnan 2018, "
    "arXiv:1805.06085",
    options=PactOptions,
    wrapper="DoReFaWeights",
    config=lambda options: {"num_bits": options.weight_bits},
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
