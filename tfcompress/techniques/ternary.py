"""Weights of three values a filter."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques._few_bits import technique

Scale = Literal["mean", "trained"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TernaryOptions:
    """Hyper-parameters of ternary weights.

    Attributes:
        scale: `mean` of the weights that aren't 0 (Ternary Weight Networks), or `trained` with them
            (Trained Ternary Quantization, with one scale for both signs, as integers need it).
        threshold: below which a weight is 0, as a share of the filter's mean absolute weight
            (`mean`: 0.7, Li et al. 2016, section 2.2) or of its largest (`trained`: 0.05, Zhu et
            al. 2017, section 4.2); None for these.
    """

    scale: Scale = searched("mean", "mean", "trained")
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Refuses what the layer would."""
        one_of("option scale", self.scale, get_args(Scale))
        require(
            self.threshold is None or 0 <= self.threshold < 1,
            f"option threshold must be from 0 to below 1; got {self.threshold}",
        )


TECHNIQUE = technique(
    name="ternary",
    summary="weights -s, 0 and s in each filter of inner layers; 2 bits by --storage=int2",
    reference="Li, Zhang, Liu 2016, arXiv:1605.04711; Zhu, Han, Mao, Dally 2017, arXiv:1612.01064",
    options=TernaryOptions,
    wrapper="TernaryWeights",
    config=lambda options: {
        "trained_scale": options.scale == "trained",
        "threshold": options.threshold,
    },
    becomes=lambda options: f"weights -s, 0 and s, s {options.scale}",
    signs_kept=False,
    epochs=10,
    storages=("dynamic", "int2"),
    aliases=("twn", "ttq", "ste_tern"),
)
