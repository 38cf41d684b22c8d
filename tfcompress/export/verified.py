"""Audits, runs and compares a file before it gets its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfcompress.errors import ExportError
from tfcompress.export import byte_inputs, layer_errors
from tfcompress.export.audit import audit
from tfcompress.export.parity import Parity
from tfcompress.export.storage import BuildJob, BuiltFile, BuiltSignature, FirstRun, Method
from tfcompress.export.verify import DifferenceError, Suspects, check_parity
from tfcompress.runtime import LiteModel
from tfcompress.runtime.process import Cost
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import FileContent, read


@dataclasses.dataclass(frozen=True)
class Verified:
    """What the audit, the first run and the comparison found.

    Attributes:
        content: of the file.
        cost: of a load and the first run; of the last signature where there are two.
        parity: of the signature that is furthest from Keras; None without images.
        errors: of each layer, where the method rounds.
        difference: how the file differs from Keras by more than its storage allows; None if it
            doesn't.
    """

    content: FileContent
    cost: Cost
    parity: Parity | None
    errors: dict[str, float]
    difference: DifferenceError | None = None


def verify_file(
    job: BuildJob,
    method: Method,
    built: BuiltFile,
    io_type: str,
    images: Rows | None,
    front: Path | None = None,
) -> Verified:
    """Audits a built file, runs it once and compares it with Keras; each signature by its rules.

    Args:
        job: what the file was built of.
        method: how it was built.
        built: the file.
        io_type: what goes in and out of a file of integers.
        images: to compare on; None for none.
        front: of `byte_inputs.take_bytes`, which makes the file's inputs of the images.

    Raises:
        ExportError: the file failed its audit, doesn't run, or gives other than finite numbers.
    """
    content = read(built.path)
    signatures = built.signatures or (BuiltSignature(None, method, built),)
    for signature in signatures:
        audit(content.of(signature.name), signature.method, io_type, built.higher)
    runs = [
        signature.method.runtime.first_run(built.path, signature.name, images)
        for signature in signatures
    ]
    cost = runs[-1].cost
    if images is None:
        return Verified(content, cost, None, {})
    if front is not None:
        ready = byte_inputs.bytes_of(front, io_type, images)
        runs = [FirstRun(cost, LiteModel(built.path).run(ready, own_types=True))]
    errors: dict[str, float] = {}
    if method.rounds:
        errors = layer_errors.errors(built.lowered, built.float_path, built.path, images)
    parities, difference = [], None
    for signature, run in zip(signatures, runs, strict=True):
        try:
            parities.append(_parity(job, built.path, images, signature, errors, run.outputs))
        except DifferenceError as error:
            difference = difference or error
            parities.append(error.parity)
    worst = max(parities, key=lambda one: one.max_abs_diff)
    return Verified(content, cost, worst, errors, difference)


def _parity(
    job: BuildJob,
    path: Path,
    images: Rows,
    signature: BuiltSignature,
    errors: dict[str, float],
    outputs: Sequence[np.ndarray] | None,
) -> Parity:
    """Compares a file, or one signature of it, with Keras.

    Args:
        job: gives the model and the storage's name.
        path: of the file.
        images: to compare on.
        signature: of the file. Values inside are looked for in the file that it was before two were
            joined.
        errors: of `layer_errors.errors`.
        outputs: the file's, where another runtime than LiteRT gave them.
    """
    method, built = signature.method, signature.built
    suspects = Suspects(
        lowered=None if method.runtime.opaque else built.lowered,
        signs=built.float_path if method.runtime.opaque else None,
        layer_errors=errors,
        ranging=None if job.ranging is None else len(job.ranging),
    )
    inside = path
    if signature.name is not None:
        inside = built.path
        outputs = LiteModel(path, signature=signature.name).run(images)
    try:
        return check_parity(
            job.model,
            inside,
            images,
            method,
            storage=job.storage,
            outputs=outputs,
            suspects=suspects,
        )
    except ExportError as error:
        if signature.name is None:
            raise
        message = f"signature {signature.name}: {error}"
        if isinstance(error, DifferenceError):
            raise DifferenceError(message, error.parity) from error
        raise ExportError(message) from error
