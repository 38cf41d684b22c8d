"""Weights as 16-bit floats."""

from __future__ import annotations

from tfcompress.export import audit
from tfcompress.export.storage import (
    BuildJob,
    BuiltFile,
    Method,
    Storage,
    Tolerance,
    refuse_signs,
)


def _build(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.half_floats(job)


_METHOD = Method(
    build=_build,
    audit=audit.half_weights,
    tolerance=Tolerance(5e-3, 0.98, max_relative_rms=2e-3),
    rounds=True,
)

STORAGE = Storage(
    name="float16",
    summary="2 bytes a weight, computed as float32; outputs differ by 0.2% at most",
    accepts=refuse_signs,
    method=lambda traits: _METHOD,
)
