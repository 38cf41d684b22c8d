"""Quantization-aware training: 8-bit weights and activations, trained to be so."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.techniques._weights import check_layers_of_ours
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled

if TYPE_CHECKING:
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext

OnUnsupported = Literal["error", "keep_float"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class QatOptions:
    """Hyper-parameters of quantization-aware training.

    Attributes:
        on_unsupported: what to do about layers that have no integer form: `error` names them,
            `keep_float` leaves them float in the file, between conversions.
        calibration_images: training images from which the activations' ranges are taken before the
            first step. TFMOT's ranges start at +-6 and move by a thousandth a step, which short
            trainings don't survive.
    """

    on_unsupported: OnUnsupported = "error"
    calibration_images: int = 512

    def __post_init__(self) -> None:
        """Refuses unknown words and an empty calibration."""
        one_of("option on_unsupported", self.on_unsupported, get_args(OnUnsupported))
        require(
            self.calibration_images >= 1,
            f"option calibration_images must be 1 or more; got {self.calibration_images}",
        )


def _transform(candidate: Candidate, options: QatOptions) -> Candidate:
    """Rewrites the model in layers that can be quantised; nothing is rounded yet."""
    from tfcompress.qat.prepare import prepare, unsupported

    check_layers_of_ours(candidate.model, "trained quantised")
    model, changes = prepare(candidate.model, on_unsupported=options.on_unsupported)
    spread = "; its shared values are shared no more"
    lost = {"folded": spread} if Property.CLUSTERS in candidate.properties else {}
    lines = [
        LayerLine(c.name, c.kind, c.action, c.reason + lost.get(c.action, "")) for c in changes
    ]
    named = {line.name for line in lines}
    floats = unsupported(model)
    for layer in model.layers:
        if layer.weights and layer.name not in named and layer.name not in floats:
            kind = type(layer).__name__
            where = "folded after training" if kind == "BatchNormalization" else "8-bit weights"
            lines.append(LayerLine(layer.name, kind, "quantised", where))
    return candidate.then(model, *lines)


def _fit(
    candidate: Candidate,
    options: QatOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Calibrates, trains with TFMOT, and comes back to Keras 3."""
    from tfcompress.qat import train

    model, rows = train.fit(
        candidate.model,
        data,
        training,
        context,
        preserve=candidate.properties & {Property.SPARSITY, Property.CLUSTERS},
        calibration=data.representative(options.calibration_images, context.seed),
    )
    return dataclasses.replace(candidate, model=model), rows


TECHNIQUE = Technique(
    name="qat",
    summary="8-bit integer weights and activations, trained with the rounding in place",
    reference="Jacob et al. 2018, arXiv:1712.05877; TensorFlow Model Optimization",
    options=QatOptions,
    transform=_transform,
    check=_transform,
    training=distilled(epochs=4, learning_rate=2e-4),
    storages=("int8",),
    fit=_fit,
    produces=frozenset({Property.QUANTISED}),
    preserves=frozenset({Property.SPARSITY, Property.CLUSTERS}),
    acts_in="training",
)
