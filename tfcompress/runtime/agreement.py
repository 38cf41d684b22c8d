"""Compares `.tflite` classifiers on images: accuracy, labels that agree, outputs' differences."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfcompress.errors import require
from tfcompress.runtime.predictor import load

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Classified:
    """Says what a file makes of some images.

    Attributes:
        labels: the classes, in the outputs' order.
        probabilities: float32 (images, classes).
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray

    def predicted(self) -> list[str]:
        """Returns each image's most probable class, in `plain` letters."""
        return [plain(self.labels[index]) for index in self.probabilities.argmax(1)]

    def known(self, names: Sequence[str]) -> list[bool]:
        """Tells of each name whether it is a class of the file."""
        classes = set(map(plain, self.labels))
        return [plain(name) in classes for name in names]


def plain(label: str) -> str:
    """Writes a class's name so that a folder can have it: small letters, digits, underlines.

    >>> plain("T-shirt/top")
    't_shirt_top'
    """
    return "_".join(re.findall(r"\w+", label.casefold().replace("_", " ")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """Compares a file with a reference on the same images.

    Attributes:
        accuracy: share of the labelled images that it classifies rightly; None if none of the
            labels is a class of its.
        agreement: share of all images that it gives the reference's label.
        largest_difference: of a probability from the reference's; None if the two have other
            classes or another order of them.
    """

    accuracy: float | None
    agreement: float
    largest_difference: float | None


def classify(path: str | os.PathLike[str], images: Sequence[str | os.PathLike[str]]) -> Classified:
    """Runs a file on image files.

    Raises:
        InputError: the file is no image classifier, can't be run or doesn't say how pixels are
            normalised; an image can't be read; or there are no images.
    """
    import numpy as np

    require(len(images) > 0, "there are no images to compare files on")
    predictor = load(path, arrays=False)
    rows = [predictor.probabilities(image) for image in images]
    return Classified(predictor.labels, np.stack(rows))


def compare(file: Classified, reference: Classified, names: Sequence[str]) -> Agreement:
    """Compares what two files make of the same images.

    Args:
        file: the one to be judged.
        reference: the one that it is compared with.
        names: what each image shows, such as the name of the folder that it lies in; only its
            letters and digits count. Images whose name isn't a class of the file don't count in
            its accuracy.
    """
    import numpy as np

    predicted = file.predicted()
    judged = zip(predicted, names, file.known(names), strict=True)
    right = [got == plain(name) for got, name, known in judged if known]
    same = [got == other for got, other in zip(predicted, reference.predicted(), strict=True)]
    difference = None
    if file.labels == reference.labels:
        difference = float(np.abs(file.probabilities - reference.probabilities).max())
    return Agreement(
        accuracy=sum(right) / len(right) if right else None,
        agreement=sum(same) / len(same),
        largest_difference=difference,
    )
