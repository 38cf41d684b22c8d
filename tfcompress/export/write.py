"""The way of every file: lower, convert, quantise, audit, compare, and only then its name."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.errors import ExportError, InputError, require
from tfcompress.export import fake_quantize, form, io_types, layer_errors, lce
from tfcompress.export.convert import weights_type
from tfcompress.export.mixed import Validation
from tfcompress.export.per_layer import layer_bytes
from tfcompress.export.storage import Storage, storage_of
from tfcompress.export.verify import Parity, audit, check_images, check_parity, smoke_run
from tfcompress.files import quiet
from tfcompress.graph.rewrite import operations
from tfcompress.layers.min_max_quantize import MinMaxQuantize
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import FileContent, read
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.metadata_writer import write as write_metadata
from tfcompress.tflite.versions import oldest


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        storage: how its weights are written.
        size_bytes: its size.
        ops: op name to count.
        weight_bytes: dtype to bytes of constants.
        float_products: names of the convolutions and dense ops whose weights stayed float.
        float_ops: names of all ops that compute in floats, in a file that is meant to compute in
            integers.
        parity: the comparison with Keras, or None if there were no images to compare on; of a file
            with two signatures that of the one which is further off.
        errors: in a file with rounded weights or activations, the rms of each layer's output
            against the float file's, as a share of that output's rms, the layers before included.
            Empty if there were no images.
        kept: layers that kept more bits than the storage gives, and why.
        layer_bytes: bytes of constants by layer, the largest first; of what belongs to no layer by
            tensor.
        min_runtime: the oldest runtime that can run the file, such as `TensorFlow Lite 2.11.0,
            LiteRT 1.0`; of a file with ops that LiteRT doesn't have, who has them; of a file with
            two signatures, for the stock one.
        load_ms: median time of a load in a fresh process; of a file with two signatures, by the one
            of 1-bit ops.
        peak_memory_bytes: peak of a fresh process that loads the file and runs it once; None where
            the system doesn't say.
    """

    path: str
    storage: str
    size_bytes: int
    ops: dict[str, int]
    weight_bytes: dict[str, int]
    float_products: tuple[str, ...]
    parity: Parity | None
    float_ops: tuple[str, ...] = ()
    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    layer_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    min_runtime: str = ""
    load_ms: float | None = None
    peak_memory_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)


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
) -> Exported:
    """Writes a Keras model as a `.tflite` file that was audited and compared with Keras.

    Args:
        model: functional or Sequential, with stock layers or ours.
        path: the file to write; it appears whole or not at all.
        storage: a name of `STORAGES`, as `tfcompress.run --list` explains them.
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

    Returns:
        What was written and how well it agrees.

    Raises:
        InputError: the model or storage can't be exported, the images don't fit the model, or the
            folder isn't there.
        ExportError: the file failed its audit or the comparison; nothing is written.
    """
    kind = kind_of(model, storage)
    check_signs(model, kind)
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"no folder {target.parent} to write {target.name} into")
    if target.is_dir():
        raise InputError(f"{target} is a folder: give the name of the file to write")
    images, ranging = _images(model, kind, representative, calibration)
    if validation is not None:
        require(
            kind.quantize == "static",
            f"validation images choose layers that keep more bits, which storage {storage} of "
            f"model '{model.name}' doesn't do: use int8 or int8_int4 on a float network",
        )
        check_images(model, validation.images)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        made = form.write(model, kind, Path(folder), ranging, validation)
        ends_as = _finish(made.path, kind, metadata, io)
        content = read(made.path)
        # Of a file with two signatures, each by its own rules.
        parts: list[tuple[str | None, Storage, form.BuiltFile]] = [(None, kind, made)]
        if made.parts:
            parts = [(name, *part) for name, part in made.parts.items()]
        for name, own, _ in parts:
            audit(content.of(name), own, ends_as)
        outputs = None
        if kind.runtime:
            outputs, cost = lce.run(made.path, images)
        else:
            cost = [smoke_run(made.path, name) for name, _, _ in parts][-1]
        errors: dict[str, float] = {}
        parity = None
        if images is not None:
            if kind.rounds:
                errors = layer_errors.errors(made.lowered, made.float_path, made.path, images)
            parities = [
                _parity(model, made.path, images, own, part, errors, outputs, name)
                for name, own, part in parts
            ]
            parity = max(parities, key=lambda found: found.max_abs_diff)
        os.replace(made.path, target)
    return Exported(
        path=str(target),
        storage=storage,
        size_bytes=target.stat().st_size,
        ops=content.op_counts(),
        weight_bytes=dict(content.weight_bytes),
        float_products=_float_products(content),
        parity=parity,
        float_ops=fake_quantize.float_ops(content) if kind.integer else (),
        errors=errors,
        kept=made.kept,
        layer_bytes=layer_bytes(made.lowered, content),
        min_runtime=_min_runtime(kind, content),
        load_ms=cost.load_ms,
        peak_memory_bytes=cost.peak_memory_bytes,
    )


def _parity(
    model: keras.Model,
    path: Path,
    images: np.ndarray,
    kind: Storage,
    part: form.BuiltFile,
    errors: dict[str, float],
    outputs: np.ndarray | None,
    signature: str | None,
) -> Parity:
    """The comparison of a file, or of one signature of it, with Keras.

    Args:
        model: the Keras model.
        path: of the file.
        images: to compare on.
        kind: how the file, or the signature, is written.
        part: the file, or what the signature was before two files were joined: there values inside
            are looked for.
        errors: of `layer_errors.errors`.
        outputs: the file's, where another runtime than LiteRT gave them.
        signature: of the file; None if it hasn't got two.
    """
    # Layers are looked into in LiteRT's own ops; a delegate's keep what is inside to themselves,
    # signs among it.
    lowered = None if kind.custom_ops else part.lowered
    signs = part.float_path if kind.custom_ops and not kind.runtime else None
    if signature is not None:
        with quiet():  # The runtime's line about its delegate.
            outputs = LiteModel(path, signature=signature).predict(images)
    inside = path if signature is None else part.path
    try:
        return check_parity(model, inside, images, kind, errors, lowered, outputs, signs=signs)
    except ExportError as error:
        if signature is None:
            raise
        raise ExportError(f"signature {signature}: {error}") from error


def _min_runtime(kind: Storage, content: FileContent) -> str:
    """Who can run a file."""
    if kind.runtime:
        return lce.RUNTIME
    return "LiteRT with tfcompress's kernels" if kind.custom_ops else str(oldest(content.of()))


def _finish(path: Path, kind: Storage, said: Metadata | None, io: str | None) -> str:
    """The ends of a file and what it says of itself; returns what goes in and out."""
    known = said if said is not None else Metadata()
    ends_as = io or ("float32" if kind.integer and known.mean else "int8")
    if io is not None or kind.integer:
        io_types.change(path, ends_as, known.mean, known.std)
    if said is not None:
        write_metadata(path, said)
    return ends_as


def kind_of(model: keras.Model, storage: str) -> Storage:
    """What a storage is for this model.

    Raises:
        InputError: no storage has that name, or it can't hold the model.
    """
    return storage_of(
        storage,
        fake_quantized=fake_quantize.present(model),
        binary_inputs=_binary_inputs(model) is not None,
        simulated=any(isinstance(layer, MinMaxQuantize) for layer in operations(model)),
    )


def _binary_inputs(model: keras.Model) -> str | None:
    """The name of the first layer with binary inputs, or None."""
    for layer in operations(model):
        if getattr(layer, "binarize_inputs", False):
            return str(layer.name)
    return None


def check_signs(model: keras.Model, kind: Storage) -> None:
    """Refuses to quantise what is added up before a sign.

    Raises:
        InputError: the storage rounds every weight, and the model has binary inputs.
    """
    name = _binary_inputs(model) if kind.rounds else None
    if name is not None:
        raise InputError(
            f"storage {kind.name} rounds the weights before the signs of layer "
            f"'{name}', which turns many of them: use int8 or float32"
        )


def _images(
    model: keras.Model,
    kind: Storage,
    representative: np.ndarray | None,
    calibration: np.ndarray | None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The images to compare on and those to take ranges from, checked."""
    given = [
        None if images is None else np.asarray(images, "float32")
        for images in (representative, calibration)
    ]
    for images in given:
        if images is not None:
            check_images(model, images)
    images, ranging = given
    if kind.quantize != "static":
        return images, None
    if ranging is None:
        if images is None or len(images) < 2:
            raise InputError(
                f"storage {kind.name} takes the ranges of integer activations from images: give "
                "representative=, about 200 normalised training images of all classes"
            )
        images, ranging = images[1::2], images[::2]
    return images, ranging


def _float_products(content: FileContent) -> tuple[str, ...]:
    """Names of products with 4 bytes a weight."""
    names = (op.outputs[0].name for op in content.ops if op.macs and weights_type(op) == "float32")
    return tuple(dict.fromkeys(names))  # Two signatures may have one in common.
