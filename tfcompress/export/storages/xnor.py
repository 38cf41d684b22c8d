"""Layers of bits as bits, for tfcompress's own kernels."""

from __future__ import annotations

from tfcompress.errors import InputError
from tfcompress.export import audit
from tfcompress.export.storage import BuildJob, BuiltFile, Method, Runtime, Storage
from tfcompress.tflite.compatibility import XNOR_OPS

NAME = "xnor"


def _build(job: BuildJob) -> BuiltFile:
    import functools

    from tfcompress.export import build, xnor_ops

    return build.edited(
        job,
        functools.partial(xnor_ops.write_xnor, few_bits=job.traits.few_bits),
        nothing=(
            "storage xnor finds nothing for it in model '{model}', no layer with binary inputs and "
            "weights to write as bits ({why}): use 1bit or float32, or the technique xnor, which "
            "makes such layers"
        ),
        empty="none is binary",
        prefix="4 bytes a weight: ",
    )


def check_kernels(storage: str) -> None:
    """Refuses 1-bit ops where nothing runs them fast, so that none could be compared with Keras.

    Args:
        storage: the storage's name, for the error.

    Raises:
        InputError: tfcompress's kernels can't be used here.
    """
    from tfcompress import kernels

    why = kernels.missing()
    if why is not None:
        raise InputError(
            f"storage {storage} needs tfcompress's 1-bit kernels, which can't be used here: {why}; "
            "use 1bit or int8"
        )


METHOD = Method(
    build=_build,
    audit=audit.float_weights,
    takes_bytes=True,
    runtime=Runtime(
        custom_ops=XNOR_OPS,
        needs="1-bit kernels",
        opaque=True,
        oldest=lambda content: "LiteRT with tfcompress's kernels",
    ),
)

STORAGE = Storage(
    name=NAME,
    summary=(
        "1 bit a weight of layers with binary inputs and weights, 4 bytes any other; exact. "
        "Multiplied as bits by tfcompress's own kernels, which a C compiler builds once on each "
        "machine: LiteRT alone, phones' apps and GPUs don't run the file"
    ),
    method=lambda traits: METHOD,
    check_machine=lambda: check_kernels(NAME),
)
