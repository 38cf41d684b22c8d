"""Fewer bits a weight where they do the least harm for what they save (or 8 bits and floats).

Which layers these are is decided as the file is written: each is rounded alone first, and by what
that does to the outputs a Lagrange multiplier allots the bits. In Python:
`tfcompress.export(model, path, storage="int8_int4", representative=x,
validation=Validation(images, labels, max_drop=0.5, bits=(8, 4), price="bytes"))`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques._quantise import PRESERVES, lines, untrained
from tfcompress.techniques.base import Candidate, Property, Technique, fit_keras

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext


Price = Literal["bytes", "time"]
# Of weights, as `export.validation` has them.
_BITS = (8, 4, 2)
# What else layers could have, and why a file of integers doesn't gain by it.
_NO_CHOICES = {
    "ternary": "2 bits hold ternary filters, and have them where they are nearer",
    "1": "a file of integers has no product with 1-bit weights, which become floats as it is "
    "loaded; technique bwn and storage 1bit write them",
    "pq": "a file of integers has no product with codebooks, which become floats as it is loaded; "
    "technique pq writes them",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedOptions:
    """How much accuracy the smaller file may cost.

    Attributes:
        max_drop: percentage points that the file's accuracy may lie below the float file's, on the
            validation images; percent of its value that another metric, such as an error, may be
            worse.
        validation_images: how many training examples that is taken on. The network was trained on
            them, and rounding may cost more on others: the test examples tell.
        bits: that a layer may have, 8 and others of 4 and 2. 2 bits need the newest runtimes; they
            hold ternary filters, too, and weights of `lsq` with 2 bits, as in `lsq+mixed`, without
            error. Of the storage int8 layers have 8 bits or floats.
        price: what is saved, `bytes` of the file or `time`, by what each layer takes alone on this
            machine.
    """

    max_drop: float = 0.5
    validation_images: int = 1000
    bits: tuple[int | str, ...] = (8, 4)
    price: Price = searched("bytes", "bytes", "time")

    def __post_init__(self) -> None:
        """Refuses what no search could use."""
        require(self.max_drop >= 0, f"option max_drop must be 0 or more; got {self.max_drop}")
        require(
            self.validation_images >= 1,
            f"option validation_images must be 1 or more; got {self.validation_images}",
        )
        for word in self.bits:
            why = _NO_CHOICES.get(str(word))
            require(why is None, f"option bits takes 8 and one or more of 4, 2, not {word}: {why}")
        require(
            8 in self.bits and set(self.bits) <= set(_BITS) and len(set(self.bits)) > 1,
            f"option bits takes 8 and one or more of 4, 2; got {self.bits}",
        )
        one_of("option price", self.price, get_args(Price))


def _transform(candidate: Candidate, options: MixedOptions) -> Candidate:
    """Copies the network: the bits are chosen as the file is written."""
    from tfcompress.graph import clone

    # By which metric files are judged isn't known before the data are.
    drop = f"{options.max_drop:g}"
    reason = (
        f"bits that take the least {options.price} with accuracy at most {drop} points, an error "
        f"{drop}% worse"
    )
    model = clone(candidate.model)
    return candidate.then(model, *lines(model, reason))


def _fit(
    candidate: Candidate,
    options: MixedOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Chooses the examples on which the export holds the file to its metric."""
    candidate, rows = fit_keras(candidate, options, data, training, context)
    chosen = data.sample(options.validation_images, [context.seed, 1])
    require(chosen.y is not None, "mixed holds the file to its metric: give targets, (x, y)")
    validation = {
        "images": chosen.x,
        "labels": chosen.y,
        "max_drop": options.max_drop,
        "bits": options.bits,
        "price": options.price,
    }
    return dataclasses.replace(candidate, validation=validation), rows


TECHNIQUE = Technique(
    name="mixed",
    summary="4-bit weights where they do the least harm for the bytes or time saved, else 8-bit "
    "(--storage=int8: 8 bits, else floats)",
    reference="Dong et al. 2020 (HAWQ-V2), arXiv:1911.03852; Shoham and Gersho 1988; harm measured "
    "on the outputs, not by the Hessian's trace",
    options=MixedOptions,
    transform=_transform,
    training=untrained,
    storages=("int8_int4",),
    fit=_fit,
    produces=frozenset({Property.QUANTISED}),
    # Layers trained for 2 bits, or for three values, keep them where they get 2 bits.
    preserves=PRESERVES | {Property.GRIDS},
    acts_in="export",
)
