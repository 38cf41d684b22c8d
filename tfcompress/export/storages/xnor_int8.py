"""Layers of bits in two forms: integers for any runtime, bits as a second signature."""

from __future__ import annotations

from tfcompress.errors import InputError
from tfcompress.export import audit
from tfcompress.export.storage import (
    BuildJob,
    BuiltFile,
    BuiltSignature,
    Method,
    Storage,
)
from tfcompress.export.storages import int8, xnor
from tfcompress.tflite import join
from tfcompress.tflite.content import read
from tfcompress.tflite.signatures import BITS, DEFAULT

NAME = "xnor+int8"


def _build(job: BuildJob) -> BuiltFile:
    # The bits first: what they say of a network without any helps more.
    bits = _signature(job, BITS, xnor.NAME, xnor.METHOD)
    integers = _signature(job, DEFAULT, int8.STORAGE.name, int8.binary_method(job.traits))
    if "CALL_ONCE" in read(bits.built.path).op_counts():
        raise InputError(
            f"storage {NAME} can't hold model '{job.model.name}': its hashed weights are expanded "
            "by a graph that runs once for the whole file, not for each signature: use int8"
        )
    path = job.folder / "both.tflite"
    join.join_signatures(integers.built.path, bits.built.path, path, BITS)
    built = integers.built
    return BuiltFile(
        path, built.float_path, built.lowered, built.kept | bits.built.kept, (integers, bits)
    )


def _signature(job: BuildJob, name: str, storage: str, method: Method) -> BuiltSignature:
    """Builds the file of one signature in a folder of its own."""
    folder = job.folder / name
    folder.mkdir()
    own = BuildJob(job.model, job.traits, storage, folder, short_names=job.short_names)
    try:
        return BuiltSignature(name, method, method.build(own))
    except InputError as error:
        raise InputError(f"storage {NAME}: {error}") from error


_METHOD = Method(build=_build, audit=audit.some_integer_weights)

STORAGE = Storage(
    name=NAME,
    summary=(
        "a network with binary inputs and weights in two forms, int8 by default and xnor as a "
        "second signature of the same file: runs in every LiteRT app but MediaPipe's, and as bits "
        "where tfcompress loads it and its kernels are; exact. The bytes of both, less what they "
        "share"
    ),
    method=lambda traits: _METHOD,
    check_machine=lambda: xnor.check_kernels(NAME),
)
