"""Compares outputs with Keras's: the figures, and how much of a storage's tolerance they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcompress.export.rounding import NO_ROUNDING, Rounding
from tfcompress.export.sign_flips import NEAR_ZERO
from tfcompress.export.storage import EXACT, Method, Tolerance
from tfcompress.ops.differences import relative_rms


@dataclasses.dataclass(frozen=True)
class Parity:
    """How a file's outputs compare with Keras's on the same images.

    Attributes:
        images: how many were compared.
        max_abs_diff: the largest difference of an output.
        max_abs_output: the largest output, for scale.
        relative_rms: rms of the differences by rms of the outputs.
        agreement: share of the images with the same label; of an output that scores classes at
            several places, such as an image's pixels, share of the places. None of outputs that
            aren't scores of classes.
        sign_flips: images left out of the four figures above: their outputs differ because a value
            before a sign lies so near to 0 that rounding in another order turns it.
        outputs: the same for each output by its name, where there are several; the figures above
            are then those of the one that differs most.
    """

    images: int
    max_abs_diff: float
    max_abs_output: float
    relative_rms: float
    agreement: float | None
    sign_flips: int = 0
    outputs: Mapping[str, Parity] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name; `sign_flips` as `ties`, the word of older reports."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["ties"] = fields.pop("sign_flips")
        outputs = fields.pop("outputs")
        if outputs:
            fields["outputs"] = {name: parity.to_json() for name, parity in outputs.items()}
        return fields


@dataclasses.dataclass(frozen=True, eq=False)
class ComparedOutput:
    """One output of Keras's and of the file's, each of shape (images, values).

    Attributes:
        name: empty if there is no other.
        expected: Keras's.
        actual: the file's.
        classes: how many values each label is the largest of; None if they are no scores.
        largest: the largest output of Keras's, of all images that were compared.
    """

    name: str
    expected: np.ndarray
    actual: np.ndarray
    classes: int | None
    largest: float

    def without(self, rows: np.ndarray) -> ComparedOutput:
        """Returns the output of the other images."""
        expected, actual = (np.delete(y, rows, 0) for y in (self.expected, self.actual))
        return dataclasses.replace(self, expected=expected, actual=actual)

    def parity(self, flipped: int) -> Parity:
        """Returns the comparison's figures."""
        return compare(self.expected, self.actual, flipped, classes=self.classes)

    def agreement(self, rounding: float = 0.0) -> float:
        """Returns the share of labels that are Keras's, or that Keras holds for equal to its own.

        Between classes that are equal but for rounding, either label is right.

        Args:
            rounding: by how much it may move each score, as a share of the largest.
        """
        if self.classes is None:
            return 1.0
        expected, actual = (y.reshape(-1, self.classes) for y in (self.expected, self.actual))
        chosen = np.take_along_axis(expected, actual.argmax(1)[:, None], 1)[:, 0]
        near = max(NEAR_ZERO, 2 * rounding) * self.largest  # Both scores may be moved.
        return float((expected.max(1) - chosen <= near).mean())

    def rms_limit(self, tolerance: Tolerance) -> float:
        """Returns the largest relative rms that a file may differ by.

        Outputs without labels need a bound where the labels' agreement is one elsewhere.
        """
        if self.classes is not None or tolerance.max_relative_rms < float("inf"):
            return tolerance.max_relative_rms
        return float("inf") if tolerance == EXACT else tolerance.max_abs

    def share_of_limit(
        self, parity: Parity, method: Method, rounding: Rounding = NO_ROUNDING
    ) -> float:
        """Returns the difference as a share of what the method allows: above 1 it is too large.

        Args:
            parity: of these outputs.
            method: how the file was written.
            rounding: what rounding makes of this output, if it is more than the method allows. The
                difference must then be like that of rounding in its rms, too.
        """
        tolerance, rms_limit = method.tolerance, self.rms_limit(method.tolerance)
        if rounding.largest > tolerance.max_abs:
            rms_limit = min(rms_limit, max(rounding.relative_rms, tolerance.max_abs))
        agreement = self.agreement(rounding.largest)
        return max(
            _share(parity.max_abs_diff, max(tolerance.max_abs, rounding.largest) * self.largest),
            _share(parity.relative_rms, rms_limit),
            2.0 - agreement if agreement < tolerance.min_agreement else 0.0,
        )


def _share(value: float, limit: float) -> float:
    """Returns a value divided by its limit: above 1 it exceeds it; 0 where there is no limit."""
    if limit == float("inf"):
        return 0.0
    if limit > 0:
        return value / limit
    return float("inf") if value > limit else 0.0


def compare(
    expected: np.ndarray, actual: np.ndarray, flipped: int = 0, *, classes: int | None = None
) -> Parity:
    """Returns the figures of `Parity` for outputs of shape (images, values).

    Args:
        expected: Keras's outputs.
        actual: the file's.
        flipped: images that were left out of both.
        classes: how many values each label is the largest of; None if they are no scores.
    """
    agreement = None
    if classes is not None:
        labels = (values.reshape(-1, classes).argmax(1) for values in (expected, actual))
        agreement = float(np.equal(*labels).mean())
    return Parity(
        images=len(expected) + flipped,
        max_abs_diff=float(np.abs(actual - expected).max(initial=0.0)),
        max_abs_output=float(np.abs(expected).max(initial=0.0)),
        relative_rms=relative_rms(expected, actual),
        agreement=agreement,
        sign_flips=flipped,
    )
