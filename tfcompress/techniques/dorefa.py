"""Weights, activations and gradients of a few bits on even levels."""

from __future__ import annotations

import dataclasses

from tfcompress.techniques._few_bits import check_bits, technique


@dataclasses.dataclass(frozen=True, kw_only=True)
class DorefaOptions:
    """Hyper-parameters of DoReFa-Net.

    Attributes:
        weight_bits: of the inner layers' weights, 1 to 8.
        activation_bits: of their inputs, 1 to 8, between 0 and 1; 32 rounds none.
        gradient_bits: of the gradients behind them, in training alone, 2 to 8; 32 rounds none.
    """

    weight_bits: int = 4
    activation_bits: int = 4
    gradient_bits: int = 32

    def __post_init__(self) -> None:
        """Refuses what the layers would."""
        check_bits("weight_bits", self.weight_bits, range(1, 9))
        check_bits("activation_bits", self.activation_bits, (*range(1, 9), 32))
        check_bits("gradient_bits", self.gradient_bits, (*range(2, 9), 32))


TECHNIQUE = technique(
    name="dorefa",
    summary="weights and activations of a few bits on even levels, gradients too if asked",
    reference="Zhou, Wu, Ni, Zhou, Wen, Zou 2016, arXiv:1606.06160",
    options=DorefaOptions,
    wrapper="DoReFaWeights",
    config=lambda options: {
        "num_bits": options.weight_bits,
        "gradient_bits": options.gradient_bits,
    },
    becomes=lambda options: f"weights of {options.weight_bits} bits on even levels without 0",
    signs_kept=False,
    epochs=10,
    storages=("int8",),
    activations=lambda options: (
        None
        if options.activation_bits == 32
        else {"num_bits": options.activation_bits, "trained": None}
    ),
    aliases=("dorefa_net", "dorefa_quantizer"),
)
