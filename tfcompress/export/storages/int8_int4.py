"""Integer weights and activations, 4 bits a weight where the runtime multiplies them."""

from __future__ import annotations

from tfcompress.config import ROUNDINGS
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

    return build.static_integers(job, weight_bits=4)


_METHOD = Method(
    build=_build,
    audit=audit.some_integer_weights,
    tolerance=Tolerance(1.0, 0.75, max_relative_rms=0.5),
    rounds=True,
    integer=True,
    needs_ranges=True,
    roundings=ROUNDINGS,
    hint="int8 and the technique mixed give layers more bits",
)

STORAGE = Storage(
    name="int8_int4",
    summary=(
        "as int8, with half a byte a weight of convolutions and dense layers (depthwise ones keep "
        "1 byte); about as slow as float32, and outputs differ by about 10%: see the technique "
        "mixed"
    ),
    accepts=refuse_signs,
    method=lambda traits: _METHOD,
)
