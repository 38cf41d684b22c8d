"""What a file must pass before it leaves: an audit of its ops, and parity with Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.errors import ExportError, require
from tfcompress.export import sign_flips
from tfcompress.export.convert import PRODUCTS, SLOW, weights_type
from tfcompress.export.per_layer import differences
from tfcompress.export.storage import Storage
from tfcompress.files import quiet
from tfcompress.graph.rewrite import functional
from tfcompress.runtime import LiteModel
from tfcompress.runtime.process import Cost, ProcessError, cost
from tfcompress.tflite import compatibility
from tfcompress.tflite.content import FileContent

# Of an output's rms: more than adding in another order makes.
_ROUNDING = 1e-4
# More values than that lie at the border of two signs in untrained networks only.
_UNTRAINED = 1e-3
# Images that they are looked for in.
_LOOKED_INTO = 16


@dataclasses.dataclass(frozen=True)
class Parity:
    """How a file's outputs compare with Keras's on the same images.

    Attributes:
        images: how many were compared.
        max_abs_diff: the largest difference of an output.
        max_abs_output: the largest output, for scale.
        relative_rms: rms of the differences by rms of the outputs.
        agreement: share of the images with the same label.
        ties: images left out of the three figures above: their outputs differ because a value
            before a sign lies so near to 0 that rounding in another order turns it.
    """

    images: int
    max_abs_diff: float
    max_abs_output: float
    relative_rms: float
    agreement: float
    ties: int = 0

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)


def audit(content: FileContent, storage: Storage, io: str = "int8") -> None:
    """Refuses what a phone's runtime can't run or gets wrong.

    Args:
        content: of the file.
        storage: how it is meant to be.
        io: what goes in and out of a file that computes in integers.

    Raises:
        ExportError: what `compatibility.never` finds, a dynamic size, or products left in another
            type than the storage says.
    """
    stock = tuple(op for op in content.ops if op.name not in storage.custom_ops)
    problems = [
        str(issue) for issue in compatibility.never(dataclasses.replace(content, ops=stock))
    ]
    for op in content.ops:
        kept = op.name in PRODUCTS and weights_type(op) == "float32"
        if storage.quantize == "all" and kept and op.name not in SLOW:
            problems.append(f"{op.name} '{op.outputs[0].name}' kept float32 weights")
    kinds = {
        weights.dtype
        for op in stock
        if op.macs
        for weights in op.inputs[1:2]
        # Unpacked bits may be integers.
        if weights is not None and (weights.constant or storage.quantize != "bits")
    }
    if storage.quantize in ("none", "bits", "half") and kinds - {"float32"}:
        problems.append(f"weights of types {sorted(kinds)} in a {storage.name} file")
    if storage.quantize == "half" and "float16" not in content.weight_bytes:
        problems.append("no 16-bit weights in the file")
    integers = {"int8", "int4", "int2"} & set(content.weight_bytes)
    if storage.quantize not in ("none", "bits", "half") and not integers:
        problems.append("no integer weights in the file")
    if storage.integer:
        for tensor in (*content.inputs, *content.outputs):
            if tensor.dtype != io:
                problems.append(f"'{tensor.name}' goes in or out as {tensor.dtype}, not {io}")
    for tensor in content.inputs:
        if not tensor.shape or tensor.shape[0] != 1:
            problems.append(f"input '{tensor.name}' has the shape {tensor.shape}, not a batch of 1")
    if problems:
        raise ExportError(f"the file failed its audit: {'; '.join(problems)}")


def smoke_run(path: Path, signature: str | None = None) -> Cost:
    """Loads a file and runs it once in a fresh process, before it may harm this one.

    Args:
        path: of the `.tflite`.
        signature: which one of a file with several.

    Raises:
        ExportError: the interpreter can't load or run it, or crashes.
    """
    try:
        return cost(path, signature=signature)
    except ProcessError as error:
        raise ExportError(
            f"the file doesn't run (at {error.last.get('stage', 'start')}): {error.cause}"
        ) from error


def check_images(model: keras.Model, images: np.ndarray) -> None:
    """Refuses images that a parity check can't use.

    Raises:
        InputError: the model has several inputs or outputs, or the images aren't of its shape,
            or none, or not finite.
    """
    model = functional(model)
    require(
        len(model.inputs) == len(model.outputs) == 1,
        f"model '{model.name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs: "
        "files are compared with Keras for 1 and 1; leave out the representative images",
    )
    shape = tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(shape) + 1 and all(
        size in (None, real) for size, real in zip(shape, images.shape[1:], strict=True)
    )
    require(
        fits and len(images) > 0,
        f"representative images must have the shape (n, {', '.join(map(str, shape))}), n at least "
        f"1; got {images.shape}",
    )
    require(bool(np.isfinite(images).all()), "representative images must be finite numbers")


def check_parity(
    model: keras.Model,
    path: Path,
    images: np.ndarray,
    storage: Storage,
    errors: Mapping[str, float] | None = None,
    lowered: keras.Model | None = None,
    got: np.ndarray | None = None,
    *,
    signs: Path | None = None,
) -> Parity:
    """Compares a file with the Keras model that it came from, on real images.

    Images where rounding turned a sign (`export.ties`) are counted in `ties` and left out; at most
    every second image may be one.

    Args:
        model: the Keras model, with our layers.
        path: the `.tflite`.
        images: float32 (images, height, width, channels), normalised.
        storage: whose tolerances apply.
        errors: of `damage.errors`, to name the layer whose output differs most.
        lowered: the model as it was converted, to find that layer where there are no errors.
        got: the file's outputs, where another runtime than LiteRT gave them.
        signs: the float file that it was made of, where its own ops don't show their signs. A
            turned sign is looked for there, and the outputs must be that file's.

    Raises:
        ExportError: the difference is larger than the storage's tolerance.
    """
    expected = sign_flips.outputs(model, functional(model).outputs, images)[0]
    if got is None:
        with quiet():  # The runtime's line about its delegate.
            got = LiteModel(path).predict(images)
    got = got.reshape(len(images), -1)
    if got.shape != expected.shape:
        raise ExportError(f"the file gives outputs of shape {got.shape}, Keras {expected.shape}")
    if not np.isfinite(got).all():
        raise ExportError("the file gives outputs that aren't finite")
    if not np.isfinite(expected).all():
        raise ExportError("the Keras model gives outputs that aren't finite")
    largest = float(np.abs(expected).max())
    difference = np.abs(got - expected).max(axis=1)
    off = np.flatnonzero(difference > storage.max_abs * largest)
    turned = off[:0]
    if 0 < len(off) <= len(images) // 2 and storage.quantize in ("none", "bits", "binary"):
        turned = off[sign_flips.explained(model, signs or path, images[off])]
        if signs is not None and len(turned):
            with quiet():
                like = LiteModel(signs).predict(images[turned]).reshape(len(turned), -1)
            same = np.abs(got[turned] - like).max(axis=1) <= storage.max_abs * largest
            turned = turned[same]
        expected, got = np.delete(expected, turned, 0), np.delete(got, turned, 0)
    parity = compare(expected, got, len(turned))
    # Between classes that Keras itself holds for equal but for rounding, either label is right.
    chosen = np.take_along_axis(expected, got.argmax(1)[:, None], 1)[:, 0]
    agreement = float((expected.max(1) - chosen <= sign_flips.TIE * largest).mean())
    if (
        parity.max_abs_diff > storage.max_abs * largest
        or agreement < storage.min_agreement
        or parity.relative_rms > storage.max_relative_rms
    ):
        if not errors and lowered is not None:
            errors = differences(lowered, path, images)
        border = 0.0 if storage.rounds else sign_flips.at_border(model, images[:_LOOKED_INTO])
        raise ExportError(_differs(parity, largest, agreement, storage, errors or {}, border))
    return parity


def _differs(
    parity: Parity,
    largest: float,
    agreement: float,
    storage: Storage,
    errors: Mapping[str, float],
    border: float,
) -> str:
    """What is wrong, and what was allowed."""
    limits = [
        f" (storage {storage.name} allows {limit:.3g})" if limit < float("inf") else ""
        for limit in (storage.max_abs * largest, storage.max_relative_rms)
    ]
    worst = ""
    if errors:
        name = max(errors, key=lambda layer: errors[layer])
        worst = f"; the output of layer '{name}' differs most, by {errors[name]:.3g} of its rms"
        off = [layer for layer, error in errors.items() if error > _ROUNDING]
        if off and not storage.rounds:
            worst += f", and '{off[0]}' is the first that differs"
    if border > _UNTRAINED:
        worst += (
            f"; {border:.1%} of the values before signs are 0 but for rounding, as in an untrained "
            "network, and fall to either side: train it first, or use float32"
        )
    if storage.hint:
        worst += f"; {storage.hint}"
    return (
        f"the file differs from Keras: outputs by up to {parity.max_abs_diff:.3g} of "
        f"{largest:.3g}{limits[0]}, by {parity.relative_rms:.3g} of their rms{limits[1]}, "
        f"labels on {1 - agreement:.1%} of {parity.images} images (allowed: "
        f"{1 - storage.min_agreement:.1%}){worst}"
    )


def compare(expected: np.ndarray, got: np.ndarray, ties: int = 0) -> Parity:
    """The figures of `Parity` for outputs (images, classes)."""
    difference = got - expected
    scale = float(np.sqrt(np.mean(expected**2)))
    return Parity(
        images=len(expected) + ties,
        max_abs_diff=float(np.abs(difference).max()),
        max_abs_output=float(np.abs(expected).max()),
        relative_rms=float(np.sqrt(np.mean(difference**2))) / scale if scale else 0.0,
        agreement=float((expected.argmax(1) == got.argmax(1)).mean()),
        ties=ties,
    )
