"""4-bit weights where they do no harm, 8-bit ones elsewhere (or 8 bits and floats).

Which layers these are is decided as the file is written. In Python:
`tfcompress.export(model, path, storage="int8_int4", representative=x,
validation=Validation(images, labels, max_drop=0.5))`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tfcompress.config import Training
from tfcompress.errors import require
from tfcompress.techniques._quantise import PRESERVES, lines, untrained
from tfcompress.techniques.base import Candidate, Property, Technique, fit_keras

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedOptions:
    """How much accuracy the smaller file may cost.

    Attributes:
        max_drop: percentage points that the file's accuracy may lie below the float file's, on the
            validation images; percent of its value that another metric, such as an error, may be
            worse.
        validation_images: how many training examples that is taken on. The network was trained on
            them, and rounding may cost more on others: the test examples tell.
    """

    max_drop: float = 0.5
    validation_images: int = 1000

    def __post_init__(self) -> None:
        """Refuses what no search could use."""
        require(self.max_drop >= 0, f"option max_drop must be 0 or more; got {self.max_drop}")
        require(
            self.validation_images >= 1,
            f"option validation_images must be 1 or more; got {self.validation_images}",
        )


def _transform(candidate: Candidate, options: MixedOptions) -> Candidate:
    """Copies the network: the bits are chosen as the file is written."""
    from tfcompress.graph import clone

    # By which metric files are judged isn't known before the data are.
    drop = f"{options.max_drop:g}"
    reason = f"the fewest bits with which accuracy is at most {drop} points, an error {drop}% worse"
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
    validation = {"images": chosen.x, "labels": chosen.y, "max_drop": options.max_drop}
    return dataclasses.replace(candidate, validation=validation), rows


TECHNIQUE = Technique(
    name="mixed",
    summary="4-bit weights where they do no harm, else 8-bit (--storage=int8: 8 bits, else floats)",
    reference="Wu et al. 2018, arXiv:1812.00090; Dong et al. 2019, arXiv:1905.03696; the search "
    "is simpler than theirs: greedy, by each layer's own effect on the outputs",
    options=MixedOptions,
    transform=_transform,
    training=untrained,
    storages=("int8_int4",),
    fit=_fit,
    produces=frozenset({Property.QUANTISED}),
    preserves=PRESERVES,
    acts_in="export",
)
