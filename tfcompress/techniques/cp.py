"""CP decomposition: convolutions as 1x1, vertical, horizontal, 1x1."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.errors import require
from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import FactoriseOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class CPOptions(FactoriseOptions):
    """The choice of ranks, and of the alternating least squares.

    Attributes:
        iterations: sweeps of each start, at most; the last tenth of 100 gains under 0.001 of the
            relative error.
        restarts: random starts, the best of which is kept; they differ by about 0.001.
        decomposition_seed: of the random starts.
    """

    iterations: int = 100
    restarts: int = 1
    decomposition_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses counts that aren't positive."""
        super().__post_init__()
        for name in ("iterations", "restarts"):
            value = getattr(self, name)
            require(value >= 1, f"option {name} must be 1 or more; got {value}")
        require(
            self.decomposition_seed >= 0,
            f"option decomposition_seed must be 0 or more; got {self.decomposition_seed}",
        )

    def decomposition(self) -> dict[str, Any]:
        """Further arguments of `CPConv2D.from_conv`."""
        return {
            "seed": self.decomposition_seed,
            "iterations": self.iterations,
            "restarts": self.restarts,
        }


TECHNIQUE = technique(
    name="cp",
    summary="convolutions as 1x1, vertical, horizontal and 1x1 ones (CP decomposition)",
    reference="Lebedev, Ganin, Rakhuba, Oseledets, Lempitsky 2015, arXiv:1412.6553, section 3",
    options=CPOptions,
    forms=("CPConv2D",),
    spatial_only=True,
)
