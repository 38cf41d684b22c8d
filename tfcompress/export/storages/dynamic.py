"""Integer weights of 8 bits; float activations are quantised as the file runs."""

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

    return build.dynamic_integers(job, weight_bits=8)


_METHOD = Method(
    build=_build, audit=audit.all_integer_weights, tolerance=Tolerance(0.1, 0.95), rounds=True
)

STORAGE = Storage(
    name="dynamic",
    summary=(
        "1 byte a weight of every convolution and dense layer (depthwise ones stay floats beside "
        "others), activations quantised to 8 bits as the file runs; outputs differ by about 1%"
    ),
    accepts=refuse_signs,
    method=lambda traits: _METHOD,
)
