"""Weights that are blocks of a codebook: their numbers in the file, looked up once at load.

`export.codebooks` says how. The chain of constant ops runs as tensors are allocated; each inference
computes with floats, as in `1bit`.
"""

from __future__ import annotations

from tfcompress.export import audit
from tfcompress.export.storage import BuildJob, BuiltFile, Method, Storage


def _build(job: BuildJob) -> BuiltFile:
    from tfcompress.export import build, codebooks

    layers = codebooks.of(job.model)
    return build.edited(
        job,
        lambda editor: codebooks.write_codebooks(editor, layers),
        nothing=(
            "storage pq finds no codebook in model '{model}' ({why}): use float32, or the "
            "technique pq, which makes some"
        ),
        prefix="4 bytes a weight: ",
    )


_METHOD = Method(build=_build, audit=audit.float_constants)

STORAGE = Storage(
    name="pq",
    summary=(
        "7.5 bits (with the default of 181 centroids) for each block of weights from a codebook, "
        "looked up once as the file is loaded, 2 bytes a value of the codebook, 4 bytes any other "
        "weight; exact. The latency and memory of floats, or more"
    ),
    method=lambda traits: _METHOD,
)
