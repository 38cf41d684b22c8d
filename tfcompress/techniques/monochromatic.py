"""Monochromatic approximation: filters of the first convolution that see one colour each."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.errors import require
from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import FactoriseOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonochromaticOptions(FactoriseOptions):
    """The choice of colours; `ranks` takes further layers, each with its number of them.

    Attributes:
        rank: different colours, 12 by default: a trained layer of 32 filters was held with a
            relative error of 0.672 by 12, 0.687 by 4 and 0.666 by one for each filter. More cost
            bytes and no time, since each filter's colour is computed anyway.
        macs_ratio: not for this technique: its cost doesn't depend on the colours.
        decomposition_seed: of the colours to begin with.
    """

    rank: int | None = 12
    macs_ratio: float | None = None
    decomposition_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses a seed below 0, and a rule that chooses nothing here."""
        require(
            self.macs_ratio is None,
            "option macs_ratio has no meaning for monochromatic, whose cost doesn't depend on the "
            f"colours: give rank; got macs_ratio={self.macs_ratio}",
        )
        super().__post_init__()
        require(
            self.decomposition_seed >= 0,
            f"option decomposition_seed must be 0 or more; got {self.decomposition_seed}",
        )

    def decomposition(self) -> dict[str, Any]:
        """Returns further arguments of `MonochromaticConv2D.from_conv`."""
        return {"seed": self.decomposition_seed}


TECHNIQUE = technique(
    name="monochromatic",
    summary="the first convolution as one colour and one window for each filter",
    reference="Denton, Zaremba, Bruna, LeCun, Fergus 2014, arXiv:1404.0736, section 3.2",
    options=MonochromaticOptions,
    forms=("MonochromaticConv2D",),
    spatial_only=True,
    first_only=True,
)
