"""The way of every file: lower, convert, quantise, audit, compare, and only then its name."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress import files
from tfcompress.config import IO
from tfcompress.errors import InputError, one_of, require
from tfcompress.export import (
    byte_inputs,
    fake_quantize,
    fallback,
    input_scaling,
    io_types,
    post_training,
    storages,
    usual_size,
)
from tfcompress.export.exported import Exported
from tfcompress.export.model_io import (
    check_layers,
    model_inputs,
    model_outputs,
)
from tfcompress.export.noise_budget import NoiseBudget
from tfcompress.export.per_layer import layer_bytes
from tfcompress.export.representative import as_rows
from tfcompress.export.storage import BuildJob, BuiltFile, Method
from tfcompress.export.traits import traits_of
from tfcompress.export.validation import Validation, checked
from tfcompress.export.verified import Verified, verify_file
from tfcompress.export.verify import DifferenceError
from tfcompress.graph import clone
from tfcompress.graph.dtypes import half_precision
from tfcompress.graph.nodes import functional
from tfcompress.plain_text import spell_out
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import FileContent, Tensor
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.metadata_writer import write_metadata
from tfcompress.tflite.weighted_ops import weights_type

# Of the rows that a quantizer is calibrated with, where the user names none.
_SPLIT_SEED = 0
# What a refused file's user can still do.
_WAY_ON = "; strict=False (--allow_difference in the command) writes it all the same, marked"
_OTHER_DEFAULT = (
    "integer files take and give float32 now where io= isn't given, as the command's do and as "
    "Keras's models; they took int8 before: io='int8' keeps that, io='float32' silences this"
)


def write_file(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    storage: str,
    representative: Any,
    calibration: Any,
    ranges: str,
    rounding: str,
    short_names: bool,
    validation: Validation | None,
    noise_budget: NoiseBudget | None,
    metadata: Metadata | None,
    labels: Sequence[str] | None,
    io: str | None,
    strict: bool,
) -> Exported:
    """Writes a Keras model as a `.tflite` file; `tfcompress.export` says how."""
    functional(model)  # Refuses one that has no graph.
    _check_types(path, storage, metadata, validation, noise_budget, labels)
    check_layers(model)
    model, notes = _in_float32(model)
    chosen = storages.get(storage)
    traits = traits_of(model)
    method = chosen.method_for(traits)
    chosen.check_machine()
    post_training.check([method], ranges=ranges, rounding=rounding)
    target = _writable(path)
    images, ranging = _images(model, storage, method, representative, calibration)
    _warn_of_range(model, (images, ranging), notes)
    usual = usual_size.usual_shapes(model, images if images is not None else ranging)
    if usual is not None:
        notes.append(usual_size.note(model, usual))
    metadata = _completed(metadata, model, labels)
    if io is None and method.integer and (metadata is None or not metadata.mean):
        warnings.warn(_OTHER_DEFAULT, FutureWarning, stacklevel=3)
    _check_allotment(validation, noise_budget, method, storage, model.name)
    if validation is not None:
        validation = checked(model, validation)
    with files.whole(target) as beside:
        job = BuildJob(model, traits, storage, beside.parent, ranging, validation, noise_budget)
        job = dataclasses.replace(
            job, usual=usual, ranges=ranges, rounding=rounding, short_names=short_names
        )
        built, verified = _built(job, method, images, metadata, io)
        if verified.difference is not None:
            if strict:
                raise DifferenceError(f"{verified.difference}{_WAY_ON}", verified.difference.parity)
            _describe(built.path, metadata, f"Failed its check: {verified.difference}")
        os.replace(built.path, beside)
    return _exported(model, target, storage, method, built, verified, tuple(notes))


def _check_allotment(
    validation: Validation | None,
    noise_budget: NoiseBudget | None,
    method: Method,
    storage: str,
    model_name: str,
) -> None:
    """Refuses two ways to choose the layers' bits, and any where a storage has no choice.

    Raises:
        InputError: says which.
    """
    require(
        validation is None or noise_budget is None,
        "validation and noise_budget both choose the layers' bits: give one of them",
    )
    what = "validation images choose" if noise_budget is None else "a noise budget chooses"
    require(
        (validation is None and noise_budget is None) or method.needs_ranges,
        f"{what} layers that keep more bits, which storage {storage} of "
        f"model '{model_name}' doesn't do: use int8 or int8_int4 on a float network",
    )


def _check_types(
    path: Any, storage: Any, metadata: Any, validation: Any, noise_budget: Any, labels: Any
) -> None:
    """Refuses arguments of other types than `tfcompress.export` takes.

    Raises:
        InputError: names the argument and says what it takes.
    """
    takes = {
        "path": (path, str | os.PathLike, "the name of the .tflite file to write"),
        "storage": (storage, str, "a name, such as 'int8'"),
        "metadata": (metadata, Metadata | None, "tfcompress.Metadata(labels=[...], ...)"),
        "validation": (
            validation,
            Validation | None,
            "tfcompress.export.Validation(images, labels, max_drop=1.0)",
        ),
        "noise_budget": (
            noise_budget,
            NoiseBudget | None,
            "tfcompress.export.NoiseBudget(bits=4)",
        ),
    }
    for name, (value, kind, wanted) in takes.items():
        require(isinstance(value, kind), f"{name} takes {wanted}; got {type(value).__name__}")
    require(
        labels is None or (isinstance(labels, Iterable) and not isinstance(labels, str)),
        f"labels takes the classes' names in the outputs' order; got {labels!r}",
    )


def _warn_of_range(model: keras.Model, given: Iterable[Rows | None], notes: list[str]) -> None:
    """Warns, and adds a note, where images don't have the range that the model's scaling is for."""
    for images in given:
        wrong = None if images is None else input_scaling.mismatch(model, images)
        if wrong is not None:
            warnings.warn(spell_out(wrong), stacklevel=4)  # The call of `tfcompress.export`.
            notes.append(wrong)
            return


def _completed(
    metadata: Metadata | None, model: keras.Model, labels: Sequence[str] | None
) -> Metadata | None:
    """Returns metadata with the labels, and with the normalisation of a model that has its own."""
    known = metadata if metadata is not None else Metadata()
    if labels is not None:
        require(
            not known.labels or known.labels == tuple(labels),
            "metadata and labels= name different labels: give one of them",
        )
        known = dataclasses.replace(known, labels=tuple(labels))
    if not known.mean and input_scaling.takes_pixels(model):
        known = dataclasses.replace(known, mean=(0.0,), std=(1.0,))
    return metadata if known == Metadata() else known


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
    images: Rows | None,
    metadata: Metadata | None,
    io: str | None,
) -> tuple[BuiltFile, Verified]:
    """Builds a file, in which layers keep more bits where it would differ too much from Keras."""

    def verify(built: BuiltFile) -> Verified:
        io_type, front = _finish(built, method, metadata, io)
        return verify_file(job, method, built, io_type, images, front)

    built = method.build(job)
    found = verify(built)
    if found.difference is None or images is None or not method.rounds:
        return built, found
    judged = [images] if job.ranging is None else [job.ranging, images]
    return fallback.agreeing(built, found, judged, verify)


def _exported(
    model: keras.Model,
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
        layer_bits=dict(built.bits),
        layer_bytes=layer_bytes(built.lowered, content),
        min_runtime=method.runtime.oldest(content),
        load_ms=cost.load_ms,
        peak_memory_bytes=cost.peak_memory_bytes,
        notes=(*notes, *built.notes),
        failed_check=None if verified.difference is None else str(verified.difference),
        inputs={
            x.name: _shown(t) for x, t in zip(model_inputs(model), content.inputs, strict=True)
        },
        outputs={
            y.name: _shown(t) for y, t in zip(model_outputs(model), content.outputs, strict=True)
        },
    )


def _shown(tensor: Tensor) -> str:
    """Says a tensor's type and shape, such as `float32 (1, 5)`."""
    return f"{tensor.dtype} {tensor.shape}"


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


def takes_io(model: keras.Model, storage: str) -> bool:
    """Returns whether a storage's file of this model may take integers.

    Raises:
        InputError: no storage has that name, or it can't hold the model.
    """
    method = method_of(model, storage)
    return method.integer or (method.takes_bytes and traits_of(model).few_bits)


def _finish(
    built: BuiltFile, method: Method, metadata: Metadata | None, io: str | None
) -> tuple[str, Path | None]:
    """Writes a file's input and output types and its metadata.

    Returns:
        The type, and what `byte_inputs.take_bytes` took out, if that was asked for.
    """
    known = metadata if metadata is not None else Metadata()
    io_type, front = io or "float32", None
    if method.takes_bytes and io_type != "float32":
        one_of("io", io_type, IO)
        front = byte_inputs.take_bytes(built.path, io_type, known.mean, known.std)
    elif io is not None or method.integer:
        io_types.change(built.path, io_type, known.mean, known.std, rounded=not built.higher)
    if built.higher:
        more = ", ".join(f"{layer} {reason.split(':')[0]}" for layer, reason in built.kept.items())
        _describe(built.path, metadata, f"By layer: {more}")
    elif metadata is not None:
        write_metadata(built.path, metadata)
    return io_type, front


def _images(
    model: keras.Model,
    storage: str,
    method: Method,
    representative: Any,
    calibration: Any,
) -> tuple[Rows | None, Rows | None]:
    """Returns the images to compare on and those to take ranges from, checked."""
    given = {"representative": representative, "calibration": calibration}
    images, ranging = (
        None if values is None else as_rows(model, values, argument)
        for argument, values in given.items()
    )
    if not method.needs_ranges:
        return images, None
    if ranging is None:
        if images is None or len(images) < 2:
            raise InputError(
                f"storage {storage} takes the ranges of integer activations from images: give "
                "representative=, about 200 normalised training images of all classes"
            )
        images, ranging = _halves(images)
    return images, ranging


def _halves(rows: Rows) -> tuple[Rows, Rows]:
    """Returns half of the rows to compare on and half to calibrate with, each in their order.

    They are drawn by a fixed seed: every other row of examples whose classes alternate would be of
    one class.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(rows))
    middle = len(rows) // 2
    return rows[np.sort(order[:middle])], rows[np.sort(order[middle:])]


def _float_products(content: FileContent) -> tuple[str, ...]:
    """Returns the output names of the ops with 4 bytes a weight."""
    names = (op.outputs[0].name for op in content.ops if op.macs and weights_type(op) == "float32")
    return tuple(dict.fromkeys(names))  # Two signatures may have one in common.
