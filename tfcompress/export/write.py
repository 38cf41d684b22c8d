"""The way of every file: lower, convert, quantise, audit, compare, and only then its name."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np

from tfcompress.errors import InputError, require
from tfcompress.export import fake_quantize, fallback, input_scaling, io_types, storages
from tfcompress.export.exported import Exported
from tfcompress.export.mixed import Validation
from tfcompress.export.per_layer import layer_bytes
from tfcompress.export.storage import BuildJob, BuiltFile, Method
from tfcompress.export.traits import traits_of
from tfcompress.export.verified import Verified, verify_file
from tfcompress.export.verify import DifferenceError, check_images
from tfcompress.graph import clone
from tfcompress.graph.dtypes import half_precision
from tfcompress.graph.nodes import functional
from tfcompress.tflite.content import FileContent
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.metadata_writer import write_metadata
from tfcompress.tflite.weighted_ops import weights_type

# What a refused file's user can still do.
_WAY_ON = "; strict=False (--allow_difference in the command) writes it all the same, marked"


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    storage: str = "float32",
    representative: np.ndarray | None = None,
    calibration: np.ndarray | None = None,
    validation: Validation | None = None,
    metadata: Metadata | None = None,
    io: str | None = None,
    strict: bool = True,
) -> Exported:
    """Writes a Keras model as a `.tflite` file that was audited and compared with Keras.

    Args:
        model: functional or Sequential, with built-in layers or ours.
        path: the file to write; it appears whole or not at all.
        storage: one of `storages.names()`, as `tfcompress.run --list` explains them.
        representative: real images, normalised: float32 (images, height, width, channels). With
            them the file's outputs are compared with Keras's; without them only the file's
            structure is audited.
        calibration: real images, normalised, from which integer activations take their ranges; a
            hundred or more, of all classes. Without them every second representative image is one,
            and only the others are compared.
        validation: labelled images; with them layers keep more bits, the most harmful first, until
            the file's accuracy on these images has fallen by no more than `max_drop` points. For
            the storages with integers.
        metadata: what the file says of itself: labels, normalisation, author and the like. With
            them `tfcompress.load` and MediaPipe take images as they are.
        io: what goes into a file that computes in integers and comes out of it: `int8`, `float32`
            or `uint8`; see `io_types.change`. None is `float32` with metadata that tell the
            normalisation, for MediaPipe refuses int8, and else `int8`.
        strict: whether a file is refused that differs from Keras by more than its storage allows.
            False writes it all the same, and says so in `Exported.failed_check` and in the file's
            own description. A file that doesn't run, or gives no finite numbers, is refused anyway.

    Returns:
        What was written and how well it agrees.

    Raises:
        InputError: the model or storage can't be exported, the images don't fit the model, or the
            folder isn't there.
        ExportError: the file failed its audit, or the comparison unless `strict` is False; nothing
            is written.
    """
    model, notes = _in_float32(model)
    chosen = storages.get(storage)
    traits = traits_of(model)
    method = chosen.method_for(traits)
    chosen.check_machine()
    target = _writable(path)
    images, ranging = _images(model, storage, method, representative, calibration)
    for some in (images, ranging):
        wrong = None if some is None else input_scaling.mismatch(model, some)
        if wrong is not None:
            warnings.warn(wrong, stacklevel=3)  # The call of `tfcompress.export`.
            notes.append(wrong)
            break
    if validation is not None:
        require(
            method.needs_ranges,
            f"validation images choose layers that keep more bits, which storage {storage} of "
            f"model '{model.name}' doesn't do: use int8 or int8_int4 on a float network",
        )
        check_images(model, validation.images)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        job = BuildJob(model, traits, storage, Path(folder), ranging, validation)
        built, verified = _built(job, method, images, metadata, io)
        if verified.difference is not None:
            if strict:
                raise DifferenceError(f"{verified.difference}{_WAY_ON}", verified.difference.parity)
            _describe(built.path, metadata, f"Failed its check: {verified.difference}")
        os.replace(built.path, target)
    return _exported(target, storage, method, built, verified, tuple(notes))


def _in_float32(model: keras.Model) -> tuple[keras.Model, list[str]]:
    """Returns a model that computes in 32 bits, and a note where the given one doesn't."""
    policy = half_precision(functional(model))
    if policy is None:
        return model, []
    note = (
        f"the model computes by the policy {policy}; the file was made of, and compared with, its "
        "float32 form: the same weights and layers, without the rounding to 16 bits"
    )
    return clone(model, full_precision=True), [note]


def _built(
    job: BuildJob,
    method: Method,
    images: np.ndarray | None,
    metadata: Metadata | None,
    io: str | None,
) -> tuple[BuiltFile, Verified]:
    """Builds a file, in which layers keep more bits where it would differ too much from Keras."""

    def verify(built: BuiltFile) -> Verified:
        io_type = _finish(built, method, metadata, io)
        return verify_file(job, method, built, io_type, images)

    built = method.build(job)
    found = verify(built)
    if found.difference is None or images is None or not method.rounds:
        return built, found
    return fallback.agreeing(built, found, images if job.ranging is None else job.ranging, verify)


def _exported(
    target: Path,
    storage: str,
    method: Method,
    built: BuiltFile,
    verified: Verified,
    notes: tuple[str, ...],
) -> Exported:
    """Returns the description of a file that stands in its place."""
    content, cost = verified.content, verified.cost
    return Exported(
        path=str(target),
        storage=storage,
        size_bytes=target.stat().st_size,
        ops=content.op_counts(),
        weight_bytes=dict(content.weight_bytes),
        float_products=_float_products(content),
        parity=verified.parity,
        float_ops=fake_quantize.float_ops(content) if method.integer else (),
        errors=verified.errors,
        kept=built.kept,
        layer_bytes=layer_bytes(built.lowered, content),
        min_runtime=method.runtime.oldest(content),
        load_ms=cost.load_ms,
        peak_memory_bytes=cost.peak_memory_bytes,
        notes=(*notes, *built.notes),
        failed_check=None if verified.difference is None else str(verified.difference),
    )


def method_of(model: keras.Model, storage: str) -> Method:
    """Returns how a storage writes this model.

    Raises:
        InputError: no storage has that name, or it can't hold the model.
    """
    return storages.get(storage).method_for(traits_of(model))


def _writable(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a file in a folder that is there.

    Raises:
        InputError: the folder isn't there, or the path is a folder's.
    """
    target = Path(path)
    require(target.parent.is_dir(), f"no folder {target.parent} to write {target.name} into")
    require(not target.is_dir(), f"{target} is a folder: give the name of the file to write")
    return target


def _describe(path: Path, metadata: Metadata | None, sentence: str) -> None:
    """Writes metadata whose description ends in a sentence."""
    known = metadata if metadata is not None else Metadata()
    description = f"{known.description}. {sentence}" if known.description else sentence
    write_metadata(path, dataclasses.replace(known, description=description))


def _finish(built: BuiltFile, method: Method, metadata: Metadata | None, io: str | None) -> str:
    """Writes a file's input and output types and its metadata; returns the type."""
    known = metadata if metadata is not None else Metadata()
    io_type = io or ("float32" if method.integer and known.mean else "int8")
    if io is not None or method.integer:
        io_types.change(built.path, io_type, known.mean, known.std)
    if built.higher:
        more = ", ".join(f"{layer} {reason.split(':')[0]}" for layer, reason in built.kept.items())
        _describe(built.path, metadata, f"By layer: {more}")
    elif metadata is not None:
        write_metadata(built.path, metadata)
    return io_type


def _images(
    model: keras.Model,
    storage: str,
    method: Method,
    representative: np.ndarray | None,
    calibration: np.ndarray | None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the images to compare on and those to take ranges from, checked."""
    given = [
        None if images is None else np.asarray(images, "float32")
        for images in (representative, calibration)
    ]
    for images in given:
        if images is not None:
            check_images(model, images)
    images, ranging = given
    if not method.needs_ranges:
        return images, None
    if ranging is None:
        if images is None or len(images) < 2:
            raise InputError(
                f"storage {storage} takes the ranges of integer activations from images: give "
                "representative=, about 200 normalised training images of all classes"
            )
        images, ranging = images[1::2], images[::2]
    return images, ranging


def _float_products(content: FileContent) -> tuple[str, ...]:
    """Returns the output names of the ops with 4 bytes a weight."""
    names = (op.outputs[0].name for op in content.ops if op.macs and weights_type(op) == "float32")
    return tuple(dict.fromkeys(names))  # Two signatures may have one in common.
