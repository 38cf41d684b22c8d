"""Biclustering: convolutions as outer products within clusters of their channels."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcompress.errors import require
from tfcompress.techniques._factorise import technique
from tfcompress.techniques._factorise_options import FactoriseOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class BiclusteringOptions(FactoriseOptions):
    """The clusters, and the choice of ranks: outer products of each block.

    Attributes:
        input_clusters: of a layer's input channels; 2, as the paper's blocks of its second layer
            that are approximated by singular value decomposition.
        output_clusters: of its filters; 2 likewise.
        iterations: sweeps of the alternating least squares, at most, as of `cp`.
        decomposition_seed: of the clusters to begin with and the random starts.
    """

    input_clusters: int = 2
    output_clusters: int = 2
    iterations: int = 100
    decomposition_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses counts that aren't positive."""
        super().__post_init__()
        for name in ("input_clusters", "output_clusters", "iterations"):
            value = getattr(self, name)
            require(value >= 1, f"option {name} must be 1 or more; got {value}")
        require(
            self.decomposition_seed >= 0,
            f"option decomposition_seed must be 0 or more; got {self.decomposition_seed}",
        )

    def structure(self) -> dict[str, Any]:
        """Returns further arguments of `BiclusteredConv2D`."""
        return {"input_clusters": self.input_clusters, "output_clusters": self.output_clusters}

    def decomposition(self) -> dict[str, Any]:
        """Returns further arguments of `BiclusteredConv2D.from_conv`."""
        return {"seed": self.decomposition_seed, "iterations": self.iterations}


TECHNIQUE = technique(
    name="biclustering",
    summary="convolutions as 1x1, depthwise and 1x1 within clusters of their channels",
    reference="Denton, Zaremba, Bruna, LeCun, Fergus 2014, arXiv:1404.0736, section 3.3",
    options=BiclusteringOptions,
    forms=("BiclusteredConv2D",),
    spatial_only=True,
)
