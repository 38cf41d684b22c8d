"""Compares a file with the Keras model that it came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from tfcompress.errors import ExportError, require
from tfcompress.export import sign_flips
from tfcompress.export.model_io import model_inputs, model_outputs
from tfcompress.export.parity import ComparedOutput, Parity
from tfcompress.export.per_layer import differences
from tfcompress.export.rounding import NO_ROUNDING, Rounding, allowances
from tfcompress.export.storage import Method, Tolerance
from tfcompress.graph.rewrite import functional
from tfcompress.runtime import LiteModel
from tfcompress.runtime.rows import Rows

# Of a layer's rms: by less, layers differ that nobody looks for.
_SLIGHT = 1e-4
# More values than that lie at the border of two signs in untrained networks only.
_UNTRAINED = 1e-3
# Images that they are looked for in.
_LOOKED_INTO = 16
# Fewer rows than that may well miss an activation's range.
_FEW = 100


class DifferenceError(ExportError):
    """A file differs from Keras by more than its storage allows.

    Attributes:
        parity: the comparison.
    """

    def __init__(self, message: str, parity: Parity) -> None:
        super().__init__(message)
        self.parity = parity


def check_rows(model: keras.Model, rows: np.ndarray | Rows) -> None:
    """Refuses inputs that a comparison can't use.

    Raises:
        InputError: there is no array for each input, they aren't of the inputs' shapes, or none,
            or not finite.
    """
    arrays, inputs = Rows.of(rows).arrays, model_inputs(model)
    require(
        len(arrays) == len(inputs),
        f"model '{model.name}' has {len(inputs)} inputs, and {len(arrays)} came: give an array for "
        f"each of {', '.join(x.name for x in inputs)}",
    )
    for array, x in zip(arrays, inputs, strict=True):
        which = f" for '{x.name}'" if len(inputs) > 1 else ""
        fits = array.ndim == len(x.shape) and all(
            size in (None, real) for size, real in zip(x.shape[1:], array.shape[1:], strict=True)
        )
        require(
            fits and len(array) > 0,
            f"representative images must have the shape {x.shown}{which}, n at least 1; got "
            f"{array.shape}",
        )
        require(
            bool(np.isfinite(array).all()),
            f"representative images must be finite numbers{which}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suspects:
    """Where to look for the cause of a difference.

    Attributes:
        lowered: the model as it was converted, where the file shows the outputs of its layers.
        signs: the float file that the file was built from, where its own ops don't show their
            signs; flipped signs are looked for there.
        layer_errors: the error of each layer's output, of `layer_errors.errors`.
        ranging: from how many rows integer activations took their ranges; None if they took none.
    """

    lowered: keras.Model | None = None
    signs: Path | None = None
    layer_errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    ranging: int | None = None


def check_parity(
    model: keras.Model,
    path: Path,
    images: np.ndarray | Rows,
    method: Method,
    *,
    storage: str,
    outputs: np.ndarray | Sequence[np.ndarray] | None = None,
    suspects: Suspects = Suspects(),
) -> Parity:
    """Compares a file with the Keras model that it came from, on real images.

    Images where rounding flipped a sign (`export.sign_flips`) are counted and left out; at most
    every second image may be one.

    Args:
        model: the Keras model, with our layers.
        path: the `.tflite`.
        images: as the model takes them, normalised; rows of several inputs.
        method: how the file was written: gives the tolerance.
        storage: the storage's name, for the error.
        outputs: the file's outputs, where something else than `LiteModel(path)` gave them.
        suspects: where to look for the cause of a difference.

    Raises:
        DifferenceError: the outputs differ by more than the tolerance.
        ExportError: they have another shape than Keras's, or aren't finite.
    """
    if outputs is None:
        outputs = LiteModel(path).run(images)
    got = [outputs] if isinstance(outputs, np.ndarray) else outputs
    compared = _compared(model, images, got)
    flipped = np.empty(0, int)
    if not method.rounds:
        flipped = _flipped(model, path, images, compared, method.tolerance, suspects.signs)
        compared = [output.without(flipped) for output in compared]
    parities = [output.parity(len(flipped)) for output in compared]
    pairs = list(zip(compared, parities, strict=True))
    shares = [output.share_of_limit(parity, method) for output, parity in pairs]
    allowed = [NO_ROUNDING] * len(compared)
    if max(shares) > 1 and method.exact:
        allowed = allowances(model, images, [output.expected for output in compared])
        shares = [
            output.share_of_limit(parity, method, own)
            for (output, parity), own in zip(pairs, allowed, strict=True)
        ]
    worst = int(np.argmax(shares))
    output, parity = compared[worst], parities[worst]
    if len(parities) > 1:
        names = [one.name for one in compared]
        parity = dataclasses.replace(parity, outputs=dict(zip(names, parities, strict=True)))
    if shares[worst] > 1:
        errors = suspects.layer_errors
        if not errors and suspects.lowered is not None:
            errors = differences(suspects.lowered, path, images)
        border = 0.0 if method.rounds else sign_flips.near_zero(model, images[:_LOOKED_INTO])
        difference = _difference(parity, output, method, storage, allowed[worst])
        difference += _cause(errors, border, method)
        if suspects.ranging is not None and suspects.ranging < _FEW:
            difference += f"; the ranges come from {suspects.ranging} rows: give a hundred or more"
        raise DifferenceError(difference, parity)
    return parity


def _compared(
    model: keras.Model, images: np.ndarray | Rows, actual: Sequence[np.ndarray]
) -> list[ComparedOutput]:
    """Returns Keras's outputs beside the file's.

    Raises:
        ExportError: they have other shapes, or aren't finite.
    """
    expected = sign_flips.outputs(model, functional(model).outputs, images)
    kinds = model_outputs(model)
    if len(actual) != len(expected):
        raise ExportError(f"the file gives {len(actual)} outputs, Keras {len(expected)}")
    flat = [values.reshape(len(values), -1).astype("float32") for values in actual]
    for right, got in zip(expected, flat, strict=True):
        _check_outputs(right, got)
    return [
        ComparedOutput(
            name=kind.name if len(kinds) > 1 else "",
            expected=right,
            actual=got,
            classes=kind.classes,
            largest=float(np.abs(right).max(initial=0.0)),
        )
        for kind, right, got in zip(kinds, expected, flat, strict=True)
    ]


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
    images: np.ndarray | Rows,
    outputs: Sequence[ComparedOutput],
    tolerance: Tolerance,
    signs: Path | None,
) -> np.ndarray:
    """Returns the places of images whose outputs differ because rounding flipped a sign.

    Args:
        model: the Keras model.
        path: the `.tflite`.
        images: those that were compared.
        outputs: Keras's and the file's.
        tolerance: gives the largest difference of an output that needs no explanation.
        signs: as of `Suspects`; the outputs must then be that file's.
    """

    def far(expected: np.ndarray, actual: np.ndarray, limit: float) -> np.ndarray:
        return np.abs(actual - expected).max(axis=1) > limit

    limits = [tolerance.max_abs * output.largest for output in outputs]
    pairs = list(zip(outputs, limits, strict=True))
    off = np.flatnonzero(
        np.any([far(output.expected, output.actual, limit) for output, limit in pairs], axis=0)
    )
    if not 0 < len(off) <= len(images) // 2:
        return off[:0]
    flipped = off[sign_flips.explained(model, signs or path, images[off])]
    if signs is None or not len(flipped):
        return flipped
    alike = [values.reshape(len(flipped), -1) for values in LiteModel(signs).run(images[flipped])]
    unlike = [
        far(values, output.actual[flipped], limit)
        for values, (output, limit) in zip(alike, pairs, strict=True)
    ]
    return flipped[~np.any(unlike, axis=0)]


def _difference(
    parity: Parity, output: ComparedOutput, method: Method, storage: str, rounding: Rounding
) -> str:
    """Says what differs, and by how much it may."""
    tolerance = method.tolerance
    limits = [
        f" (storage {storage} allows {limit:.3g})" if limit < float("inf") else ""
        for limit in (tolerance.max_abs * output.largest, output.rms_limit(tolerance))
    ]
    if rounding.largest > tolerance.max_abs:
        most = (rounding.largest * output.largest, rounding.relative_rms)
        limits = [f" (rounding may make it {limit:.3g})" for limit in most]
    which = f"output '{output.name}'" if output.name else "outputs"
    text = (
        f"the file differs from Keras: {which} by up to {parity.max_abs_diff:.3g} of "
        f"{output.largest:.3g}{limits[0]}, by {parity.relative_rms:.3g} of their rms{limits[1]}"
    )
    if output.classes is None:
        return text
    return (
        f"{text}, labels on {1 - output.agreement():.1%} of {parity.images} images (allowed: "
        f"{1 - tolerance.min_agreement:.1%})"
    )


def _cause(errors: Mapping[str, float], border: float, method: Method) -> str:
    """Says where the difference comes from, and what to do."""
    text = ""
    if errors:
        name = max(errors, key=lambda layer: errors[layer])
        text = f"; the output of layer '{name}' differs most, by {errors[name]:.3g} of its rms"
        off = [layer for layer, error in errors.items() if error > _SLIGHT]
        if off and not method.rounds:
            text += f", and '{off[0]}' is the first that differs"
    if border > _UNTRAINED:
        text += (
            f"; {border:.1%} of the values before signs are 0 but for rounding, as in an untrained "
            "network, and fall to either side: train it first, or use float32"
        )
    return f"{text}; {method.hint}" if method.hint else text
