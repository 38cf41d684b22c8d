"""The options that the decompositions share: ranks, their schedule, what is fitted, the recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques.base import distilled

Rank = int | tuple[int, int]

# A quarter of the MACs is where the exported layer is really 2.7 to 4 times faster and a few epochs
# of tuning bring the accuracy back to within about a point.
MACS_RATIO = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactoriseOptions:
    """How ranks are chosen: at most one of `rank` and `macs_ratio`, and `ranks` for some layers.

    Attributes:
        rank: the same for all layers that gain by it.
        ranks: of layers by name: `{"conv3": 64}`, or `conv3:64,conv4:96` as text. Alone it says
            which layers are replaced; with another option it takes precedence over that.
        macs_ratio: each layer's rank is the largest that needs no more than this share of its
            multiply-accumulates, rounded down to a multiple of 8 from 16 on; 0.25 if nothing else
            is given.
        schedule: `once` replaces all layers and then trains; `iterative` replaces one layer at a
            time, in their order, each from the weights that the network was trained to after the
            one before (Astrid and Lee 2017, arXiv:1701.07148). The ranks are chosen before the
            first. It is of trainings: a mere transform replaces all layers at once.
        layer_epochs: in the iterative schedule, the epochs after each layer but the last, behind
            which the training's own follow.
    """

    rank: int | None = None
    ranks: Mapping[str, Rank] | tuple[str, ...] = ()
    macs_ratio: float | None = searched(None, low=0.15, high=0.75, step=0.05, grows=1)
    schedule: Literal["once", "iterative"] = "once"
    layer_epochs: int = 1

    def __post_init__(self) -> None:
        """Refuses ranks that no layer can have, and several rules at once."""
        object.__setattr__(self, "ranks", _parsed(self.ranks))
        given = [name for name in self._rules() if getattr(self, name)]
        require(
            len(given) <= 1,
            f"give one of the options {', '.join(self._rules())}; got {' and '.join(given)}",
        )
        require(
            self.rank is None or self.rank >= 1, f"option rank must be positive; got {self.rank}"
        )
        require(
            self.macs_ratio is None or 0 < self.macs_ratio < 1,
            f"option macs_ratio must be in (0, 1); got {self.macs_ratio}",
        )
        one_of("option schedule", self.schedule, ("once", "iterative"))
        require(
            self.layer_epochs >= 1,
            f"option layer_epochs must be 1 or more; got {self.layer_epochs}",
        )
        if not given and not self.ranks:
            object.__setattr__(self, "macs_ratio", MACS_RATIO)

    def _rules(self) -> tuple[str, ...]:
        return "rank", "macs_ratio"

    def alone(self, name: str, rank: Rank) -> Self:
        """Returns these options with this rank for one layer, and for no other."""
        none: dict[str, Any] = dict.fromkeys(self._rules())
        return dataclasses.replace(self, ranks={name: rank}, **none)

    def decomposition(self) -> dict[str, Any]:
        """Returns further arguments of the layers' decompositions."""
        return {}

    def structure(self) -> dict[str, Any]:
        """Returns further arguments of the layers, which shape their factors beside the rank."""
        return {}

    def by_responses(self) -> bool:
        """Says whether the factors are fitted to the layers' outputs for real images."""
        return False

    def by_spectrum(self) -> bool:
        """Says whether ranks depend on the trained weights."""
        return False

    def covers(self, name: str) -> bool:
        """Says whether these options give a rank for a layer."""
        return name in self.ranks or any(getattr(self, rule) for rule in self._rules())


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectrumOptions(FactoriseOptions):
    """Adds two rules that take a layer's rank from its trained weights.

    Attributes:
        energy: each layer's rank is the smallest that keeps this share of its squared singular
            values, in (0, 1].
        vbmf: each layer's rank is chosen by variational Bayesian matrix factorisation (Nakajima et
            al. 2013; for convolutions Kim et al. 2016).
    """

    energy: float | None = None
    vbmf: bool = False

    def __post_init__(self) -> None:
        """Refuses what isn't a share."""
        super().__post_init__()
        require(
            self.energy is None or 0 < self.energy <= 1,
            f"option energy must be in (0, 1]; got {self.energy}",
        )

    def by_spectrum(self) -> bool:
        """Says whether ranks depend on the trained weights."""
        return bool(self.energy or self.vbmf)

    def _rules(self) -> tuple[str, ...]:
        return "rank", "macs_ratio", "energy", "vbmf"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionOptions(SpectrumOptions):
    """Adds the choice of what the factors are fitted to.

    Attributes:
        reconstruction: `weights` for the factors nearest to the trained kernel; `activations` for
            those whose responses to some training images are nearest to the original network's
            (Zhang et al. 2016, arXiv:1505.06798, section 3.1), given what the layers before, which
            are compressed already, make of these images (section 3.3). Without the nonlinearity
            of section 3.2. It changes the factors, not the choice of ranks.
    """

    reconstruction: Literal["weights", "activations"] = "weights"

    def __post_init__(self) -> None:
        """Refuses other words."""
        super().__post_init__()
        one_of("option reconstruction", self.reconstruction, ("weights", "activations"))

    def by_responses(self) -> bool:
        """Says whether the factors are fitted to the layers' outputs for real images."""
        return self.reconstruction == "activations"


def _parsed(given: Mapping[str, Rank] | Sequence[str]) -> dict[str, Rank]:
    """Returns ranks by layer name from either form.

    >>> _parsed(("conv3:64", "conv4:32x48"))
    {'conv3': 64, 'conv4': (32, 48)}
    """
    ranks: dict[str, Rank] = {}
    for pair in given.items() if isinstance(given, Mapping) else given:
        try:
            name, rank = pair.rsplit(":", 1) if isinstance(pair, str) else pair
            parts = rank.split("x") if isinstance(rank, str) else np.atleast_1d(rank).tolist()
            sizes = tuple(int(part) for part in parts)
            ranks[name] = sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])
            good = len(sizes) <= 2 and min(sizes) >= 1
        except (TypeError, ValueError):
            good = False
        require(good, f"option ranks takes name:rank, as in ranks=conv3:64; got {given!r}")
    return ranks


# Fine-tuning: the rate that the decomposed nets took well.
training = distilled(epochs=5, learning_rate=5e-4)
