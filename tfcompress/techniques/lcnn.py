"""Lookup-based convolutions: each place of a kernel is a sum of a few vectors of a dictionary."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.errors import require
from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import FactoriseOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class LcnnOptions(FactoriseOptions):
    """The choice of dictionaries, whose sizes are the layers' ranks, and of what they are taken by.

    Attributes:
        coefficients: vectors of the dictionary that each place of a filter is a sum of; the paper's
            s. 4: of a trained network's kernels they missed 0.03 more of the norm than 8 did, and
            2 missed 0.05 more than 4 (of dictionaries of a quarter of the channels).
        rounds: of fitting coefficients and dictionary in turns; after 5 of them 5 more lowered the
            relative error by under 0.01.
        decomposition_seed: of the vectors that the dictionaries begin with.
    """

    coefficients: int = 4
    rounds: int = 10
    decomposition_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses counts that aren't positive."""
        super().__post_init__()
        for name in ("coefficients", "rounds"):
            value = getattr(self, name)
            require(value >= 1, f"option {name} must be 1 or more; got {value}")
        require(
            self.decomposition_seed >= 0,
            f"option decomposition_seed must be 0 or more; got {self.decomposition_seed}",
        )

    def structure(self) -> dict[str, Any]:
        """Returns further arguments of `LookupConv2D`."""
        return {"coefficients": self.coefficients}

    def decomposition(self) -> dict[str, Any]:
        """Returns further arguments of `LookupConv2D.from_conv`."""
        return {"seed": self.decomposition_seed, "rounds": self.rounds}


TECHNIQUE = technique(
    name="lcnn",
    summary="convolutions as 1x1 with a dictionary and a window of few weights that aren't 0",
    reference="Bagherinezhad, Rastegari, Farhadi 2017, arXiv:1611.06473",
    options=LcnnOptions,
    forms=("LookupConv2D",),
    storages=("float32", "sparse"),
)
