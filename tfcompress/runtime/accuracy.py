"""The accuracy of a `.tflite` classifier, taken by running the file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfcompress.errors import require
from tfcompress.runtime.model import LiteModel

if TYPE_CHECKING:
    import numpy as np


def file_accuracy(
    path: str | os.PathLike[str],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    threads: int = 2,
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
    right = total = 0
    model = LiteModel(path, threads=threads)
    for images, labels in batches:
        outputs = model.predict(images).reshape(len(labels), -1)
        right += int((outputs.argmax(1) == labels).sum())
        total += len(labels)
    require(total > 0, f"there are no images to take the accuracy of {path} on")
    return right / total
