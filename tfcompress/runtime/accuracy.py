"""The accuracy of a `.tflite` classifier, taken by running the file."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable

import numpy as np

from tfcompress.errors import require
from tfcompress.runtime.model import LiteModel

# The normal distribution's quantile of a two-sided 95% interval.
_QUANTILE = 1.959964


def file_accuracy(
    path: str | os.PathLike[str],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    threads: int = 1,
) -> float:
    """Returns the share of images that a file classifies rightly, 0 to 1.

    Args:
        path: the file.
        batches: pairs of images, float32 (n, height, width, channels) as the Keras model takes
            them, and of labels, integers (n,), such as `Dataset.batches` gives them.
        threads: CPU threads of one inference.

    Raises:
        InputError: the file can't be run, the images aren't of its shape, or there are none.
    """
    model = LiteModel(path, threads=threads)
    right = images_seen = 0
    for images, labels in batches:
        outputs = model.predict(images).reshape(len(labels), -1)
        right += int((outputs.argmax(1) == labels).sum())
        images_seen += len(labels)
    require(images_seen > 0, f"there are no images to take the accuracy of {path} on")
    return right / images_seen


def change_interval(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Returns the 95% interval of the change in accuracy between two files.

    Both files saw the same images, so that only those count which one of them alone classifies
    rightly. Half an image is added to each of the four cells, which keeps the interval honest for
    few images (Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24).

    Args:
        before: booleans (images,), whether the first file classifies each image rightly.
        after: the same of the second file, on the same images.

    Returns:
        The bounds of `after`'s accuracy minus `before`'s, -1 to 1.

    >>> import numpy as np
    >>> [round(bound, 2) for bound in change_interval(np.zeros(5, bool), np.arange(5) == 0)]
    [-0.24, 0.52]
    """
    gained = float(np.sum(~before & after)) + 0.5
    lost = float(np.sum(before & ~after)) + 0.5
    images = len(before) + 2
    change = (gained - lost) / images
    error = math.sqrt(max(gained + lost - (gained - lost) ** 2 / images, 0.0)) / images
    return max(change - _QUANTILE * error, -1.0), min(change + _QUANTILE * error, 1.0)


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """Says whether two models that classified the same examples differ by more than chance.

    Attributes:
        gained: examples that the second one alone classifies rightly.
        lost: examples that the first one alone does.
        p_value: how likely so uneven a parting of these is, or a more uneven one, where neither
            is the better one.
    """

    gained: int
    lost: int
    p_value: float


def paired_test(before: np.ndarray, after: np.ndarray) -> PairedTest:
    """Returns McNemar's exact test of two models on the same examples.

    Args:
        before: booleans (examples,), whether the first model classifies each example rightly.
        after: the same of the second model.

    Reference:
        McNemar 1947, "Note on the sampling error of the difference between correlated proportions
        or percentages", Psychometrika 12; exact by the binomial distribution.

    >>> import numpy as np
    >>> paired_test(np.arange(8) < 1, np.arange(8) > 1)
    PairedTest(gained=6, lost=1, p_value=0.125)
    """
    from scipy.special import bdtr  # scipy.stats takes seconds to import.

    gained, lost = int(np.sum(~before & after)), int(np.sum(before & ~after))
    p_value = min(2 * float(bdtr(min(gained, lost), gained + lost, 0.5)), 1.0)
    return PairedTest(gained, lost, p_value)


def mean_interval(
    before: np.ndarray, after: np.ndarray, *, relative: bool
) -> tuple[float, float] | None:
    """Returns the 95% interval of the change of a mean over examples that two files both saw.

    It is the normal one of matched pairs; of a change relative to the first mean that of a ratio
    of two means, by the delta method. Below some thirty examples it is too narrow.

    Args:
        before: float (examples,), each example's value by the first file.
        after: the same by the second file, of the same examples.
        relative: whether the change is a share of the first file's mean.

    Returns:
        The bounds; None of fewer than two examples, or of a share of 0.

    >>> import numpy as np
    >>> low, high = mean_interval(np.array([1.0, 2, 3]), np.array([2.0, 3, 4]), relative=False)
    >>> low, high
    (1.0, 1.0)
    """
    first, second = float(before.mean()), float(after.mean())
    if len(before) < 2 or (relative and first == 0):
        return None
    share = second / first if relative else 1.0
    scale = abs(first) if relative else 1.0
    rest = after - share * before
    change = (second - first) / scale
    error = _QUANTILE * float(rest.std(ddof=1)) / math.sqrt(len(rest)) / scale
    return change - error, change + error
