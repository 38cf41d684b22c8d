"""The float network itself: the control, whose every ratio should come out as 1."""

from __future__ import annotations

import dataclasses

from tfcompress.config import Training
from tfcompress.techniques.base import Candidate, Technique


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineOptions:
    """None: the training's own settings are the baseline's."""


def _transform(candidate: Candidate, options: BaselineOptions) -> Candidate:
    from tfcompress.graph import clone

    return candidate.then(clone(candidate.model))


def _training(options: BaselineOptions) -> Training:
    return Training(epochs=0)


TECHNIQUE = Technique(
    name="baseline",
    summary="the float network itself, as a control: every ratio should be 1",
    reference="none",
    options=BaselineOptions,
    transform=_transform,
    training=_training,
    storages=("float32",),
)
