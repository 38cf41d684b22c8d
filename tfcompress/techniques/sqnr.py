"""Bits by layer from a noise budget, without data or training: large layers get the fewest.

Layers are allotted 8, 4 or 2 bits as the file is written, by their numbers of weights alone. In
Python: `tfcompress.export(model, path, storage="int8_int4", representative=x,
noise_budget=NoiseBudget(bits=4))`. The paper's bits are any whole numbers, of activations too;
those of a file's weights are these three, and its activations have 8.
"""

from __future__ import annotations

import dataclasses

from tfcompress.errors import require
from tfcompress.techniques._quantise import PRESERVES, lines, untrained
from tfcompress.techniques.base import Candidate, Property, Technique


@dataclasses.dataclass(frozen=True, kw_only=True)
class SqnrOptions:
    """How much noise the rounding may make.

    Attributes:
        bits: in every layer, 2 to 8, whose noise the layers' rounding may make together.
    """

    bits: int = 4

    def __post_init__(self) -> None:
        """Refuses bits that no file holds."""
        require(2 <= self.bits <= 8, f"option bits must be from 2 to 8; got {self.bits}")


def _transform(candidate: Candidate, options: SqnrOptions) -> Candidate:
    """Copies the network: the bits are allotted as the file is written."""
    from tfcompress.graph import clone

    model = clone(candidate.model)
    reason = f"bits by its share of the weights, with no more noise than {options.bits} bits each"
    return dataclasses.replace(
        candidate.then(model, *lines(model, reason)), noise_budget=options.bits
    )


TECHNIQUE = Technique(
    name="sqnr",
    summary="8-, 4- and 2-bit weights by the layers' sizes, from a budget of noise, without data",
    reference="Lin, Talathi, Annapureddy 2016, arXiv:1511.06393",
    options=SqnrOptions,
    transform=_transform,
    training=untrained,
    storages=("int8_int4",),
    produces=frozenset({Property.QUANTISED}),
    preserves=PRESERVES,
    acts_in="export",
)
