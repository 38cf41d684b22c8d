"""Compares a file with the Keras model that it came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.errors import ExportError, require
from tfcompress.export import sign_flips
from tfcompress.export.per_layer import differences
from tfcompress.export.storage import Method
from tfcompress.graph.rewrite import functional
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel

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
        sign_flips: images left out of the three figures above: their outputs differ because a value
            before a sign lies so near to 0 that rounding in another order turns it.
    """

    images: int
    max_abs_diff: float
    max_abs_output: float
    relative_rms: float
    agreement: float
    sign_flips: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name; `sign_flips` as `ties`, the word of older reports."""
        fields = dataclasses.asdict(self)
        fields["ties"] = fields.pop("sign_flips")
        return fields


class DifferenceError(ExportError):
    """A file differs from Keras by more than its storage allows.

    Attributes:
        parity: the comparison.
    """

    def __init__(self, message: str, parity: Parity) -> None:
        super().__init__(message)
        self.parity = parity


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suspects:
    """Where to look for the cause of a difference.

    Attributes:
        lowered: the model as it was converted, where the file shows the outputs of its layers.
        signs: the float file that the file was built from, where its own ops don't show their
            signs; flipped signs are looked for there.
        layer_errors: the error of each layer's output, of `layer_errors.errors`.
    """

    lowered: keras.Model | None = None
    signs: Path | None = None
    layer_errors: Mapping[str, float] = dataclasses.field(default_factory=dict)


def check_parity(
    model: keras.Model,
    path: Path,
    images: np.ndarray,
    method: Method,
    *,
    storage: str,
    outputs: np.ndarray | None = None,
    suspects: Suspects = Suspects(),
) -> Parity:
    """Compares a file with the Keras model that it came from, on real images.

    Images where rounding flipped a sign (`export.sign_flips`) are counted and left out; at most
    every second image may be one.

    Args:
        model: the Keras model, with our layers.
        path: the `.tflite`.
        images: float32 (images, height, width, channels), normalised.
        method: how the file was written: gives the tolerance.
        storage: the storage's name, for the error.
        outputs: the file's outputs, where something else than `LiteModel(path)` gave them.
        suspects: where to look for the cause of a difference.

    Raises:
        DifferenceError: the outputs differ by more than the tolerance.
        ExportError: they have another shape than Keras's, or aren't finite.
    """
    expected = sign_flips.outputs(model, functional(model).outputs, images)[0]
    if outputs is None:
        outputs = LiteModel(path).predict(images)
    actual = outputs.reshape(len(images), -1)
    _check_outputs(expected, actual)
    largest = float(np.abs(expected).max())
    limit = method.tolerance.max_abs * largest
    flipped = np.empty(0, int)
    if not method.rounds:
        flipped = _flipped(model, path, images, expected, actual, limit, suspects.signs)
        expected, actual = np.delete(expected, flipped, 0), np.delete(actual, flipped, 0)
    parity = compare(expected, actual, len(flipped))
    # Between classes that Keras itself holds for equal but for rounding, either label is right.
    chosen = np.take_along_axis(expected, actual.argmax(1)[:, None], 1)[:, 0]
    agreement = float((expected.max(1) - chosen <= sign_flips.NEAR_ZERO * largest).mean())
    if (
        parity.max_abs_diff > limit
        or agreement < method.tolerance.min_agreement
        or parity.relative_rms > method.tolerance.max_relative_rms
    ):
        errors = suspects.layer_errors
        if not errors and suspects.lowered is not None:
            errors = differences(suspects.lowered, path, images)
        border = 0.0 if method.rounds else sign_flips.near_zero(model, images[:_LOOKED_INTO])
        difference = _difference(parity, largest, agreement, method, storage)
        raise DifferenceError(difference + _cause(errors, border, method), parity)
    return parity


def _check_outputs(expected: np.ndarray, actual: np.ndarray) -> None:
    """Refuses outputs of another shape, and outputs that aren't finite."""
    if actual.shape != expected.shape:
        raise ExportError(f"the file gives outputs of shape {actual.shape}, Keras {expected.shape}")
    if not np.isfinite(actual).all():
        raise ExportError("the file gives outputs that aren't finite")
    if not np.isfinite(expected).all():
        raise ExportError("the Keras model gives outputs that aren't finite")


def _flipped(
    model: keras.Model,
    path: Path,
    images: np.ndarray,
    expected: np.ndarray,
    actual: np.ndarray,
    limit: float,
    signs: Path | None,
) -> np.ndarray:
    """Returns the places of images whose outputs differ because rounding flipped a sign.

    Args:
        model: the Keras model.
        path: the `.tflite`.
        images: those that were compared.
        expected: Keras's outputs.
        actual: the file's outputs.
        limit: the largest difference of an output that needs no explanation.
        signs: as of `Suspects`; the outputs must then be that file's.
    """
    off = np.flatnonzero(np.abs(actual - expected).max(axis=1) > limit)
    if not 0 < len(off) <= len(images) // 2:
        return off[:0]
    flipped = off[sign_flips.explained(model, signs or path, images[off])]
    if signs is None or not len(flipped):
        return flipped
    alike = LiteModel(signs).predict(images[flipped]).reshape(len(flipped), -1)
    return flipped[np.abs(actual[flipped] - alike).max(axis=1) <= limit]


def _difference(
    parity: Parity, largest: float, agreement: float, method: Method, storage: str
) -> str:
    """Says what differs, and by how much it may."""
    tolerance = method.tolerance
    limits = [
        f" (storage {storage} allows {limit:.3g})" if limit < float("inf") else ""
        for limit in (tolerance.max_abs * largest, tolerance.max_relative_rms)
    ]
    return (
        f"the file differs from Keras: outputs by up to {parity.max_abs_diff:.3g} of "
        f"{largest:.3g}{limits[0]}, by {parity.relative_rms:.3g} of their rms{limits[1]}, "
        f"labels on {1 - agreement:.1%} of {parity.images} images (allowed: "
        f"{1 - tolerance.min_agreement:.1%})"
    )


def _cause(errors: Mapping[str, float], border: float, method: Method) -> str:
    """Says where the difference comes from, and what to do."""
    text = ""
    if errors:
        name = max(errors, key=lambda layer: errors[layer])
        text = f"; the output of layer '{name}' differs most, by {errors[name]:.3g} of its rms"
        off = [layer for layer, error in errors.items() if error > _ROUNDING]
        if off and not method.rounds:
            text += f", and '{off[0]}' is the first that differs"
    if border > _UNTRAINED:
        text += (
            f"; {border:.1%} of the values before signs are 0 but for rounding, as in an untrained "
            "network, and fall to either side: train it first, or use float32"
        )
    return f"{text}; {method.hint}" if method.hint else text


def compare(expected: np.ndarray, actual: np.ndarray, flipped: int = 0) -> Parity:
    """Returns the figures of `Parity` for outputs of shape (images, classes)."""
    difference = actual - expected
    return Parity(
        images=len(expected) + flipped,
        max_abs_diff=float(np.abs(difference).max()),
        max_abs_output=float(np.abs(expected).max()),
        relative_rms=relative_rms(expected, actual),
        agreement=float((expected.argmax(1) == actual.argmax(1)).mean()),
        sign_flips=flipped,
    )
