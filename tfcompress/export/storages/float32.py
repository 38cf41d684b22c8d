"""Weights as 32-bit floats."""

from __future__ import annotations

import dataclasses

from tfcompress.export import audit
from tfcompress.export.storage import (
    BuildJob,
    BuiltFile,
    Method,
    ModelTraits,
    Storage,
    Tolerance,
    refuse_rounding_layers,
)


def _build(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build, few_values

    built = build.float_file(job, activations="signed", bucket_type="float32").as_built()
    return dataclasses.replace(built, notes=few_values.notes(job.model, built.lowered, job.traits))


_FLOATS = Method(build=_build, audit=audit.float_weights)
# The file rounds at the same places as Keras, but in another order of operations: values at the
# border of two steps fall to either side.
_SIMULATED = Method(
    build=_build, audit=audit.float_weights, tolerance=Tolerance(0.1, 0.95, max_relative_rms=0.02)
)


def _accepts(traits: ModelTraits) -> str | None:
    return None if traits.simulated else refuse_rounding_layers(traits)


STORAGE = Storage(
    name="float32",
    summary="4 bytes a weight; exact",
    accepts=_accepts,
    method=lambda traits: _SIMULATED if traits.simulated else _FLOATS,
)
