"""Integer weights of 4 bits where they aren't slower than floats."""

from __future__ import annotations

from tfcompress.export import audit
from tfcompress.export.storage import BuildJob, BuiltFile, Method, Storage, Tolerance


def _build(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.dynamic_integers(job, weight_bits=4)


def _binary_layers(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build

    return build.binary_integers(job, weight_bits=4)


_ALL = Method(
    build=_build,
    audit=audit.all_integer_weights,
    tolerance=Tolerance(1.0, 0.75, max_relative_rms=0.5),
    rounds=True,
)
_BINARY = Method(build=_binary_layers, audit=audit.some_integer_weights)

STORAGE = Storage(
    name="int4",
    summary=(
        "half a byte a weight of dense layers and convolutions where they aren't slower than with "
        "floats, which the export measures; 1 byte elsewhere. Activations as in dynamic; outputs "
        "differ by about 10%, those of binary layers not. Of a network with binary inputs only the "
        "binary layers' weights, without error"
    ),
    method=lambda traits: _BINARY if traits.binary_inputs else _ALL,
)
