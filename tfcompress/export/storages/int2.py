"""Integer weights of 2 bits where they aren't slower than floats."""

from __future__ import annotations

from tfcompress.export import audit
from tfcompress.export.storage import BuildJob, BuiltFile, Method, Storage, Tolerance


def _build(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.dynamic_integers(job, weight_bits=2)


def _binary_layers(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.binary_integers(job, weight_bits=2)


_ALL = Method(
    build=_build, audit=audit.all_integer_weights, tolerance=Tolerance(0.1, 0.95), rounds=True
)
_BINARY = Method(build=_binary_layers, audit=audit.some_integer_weights)

STORAGE = Storage(
    name="int2",
    summary=(
        "as int4, a quarter of a byte a binary or ternary weight and 1 byte any other; only the "
        "newest runtimes (LiteRT 2.1) take it"
    ),
    method=lambda traits: _BINARY if traits.binary_inputs else _ALL,
)
