"""Chooses the layers that keep more bits, so that a file keeps its accuracy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np

from tfcompress.errors import InputError, require
from tfcompress.export import calibrate
from tfcompress.export.layer_errors import layer_names
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.runtime.accuracy import file_accuracy
from tfcompress.tflite.content import read
from tfcompress.tflite.weighted_ops import with_constant_weights

# Images on which each layer's rounding is judged alone.
_IMAGES = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Validation:
    """The images and the bound that decide which layers keep more bits.

    Attributes:
        images: float32 (images, height, width, channels), normalised; not those of the test.
        labels: their classes.
        max_drop: by how many percentage points the file's accuracy on them may lie below the float
            file's.
    """

    images: np.ndarray
    labels: np.ndarray
    max_drop: float = 0.5

    def __post_init__(self) -> None:
        """Refuses what no accuracy can be taken on."""
        require(
            0 < len(self.images) == len(self.labels),
            f"validation needs a label for each image; got {len(self.images)} images and "
            f"{len(self.labels)} labels",
        )
        require(self.max_drop >= 0, f"max_drop must be 0 or more; got {self.max_drop}")


def search(
    model: keras.Model,
    float_path: Path,
    path: Path,
    weight_bits: int,
    ranges: calibrate.Ranges,
    calibration: np.ndarray,
    validation: Validation,
) -> dict[str, str]:
    """Writes the smallest file whose accuracy holds, and returns which layers keep more bits.

    Every weighted op is rounded alone first, and the rms of what that does to the outputs orders
    them. Then the worst keep the next higher precision, one more at a time, until the drop on the
    validation images is within bounds.

    Args:
        model: in built-in layers, as it was converted.
        float_path: the float file.
        path: of the file to write.
        weight_bits: 8 (layers that stay are float) or 4 (they have 8 bits).
        ranges: the tensors' ranges.
        calibration: images; the first of them judge the single layers.
        validation: images, labels and the bound.

    Returns:
        Layer name to why it kept more bits.

    Raises:
        InputError: the bound is exceeded even with all layers (of `int8`: all but one) at the
            higher precision.
    """
    content = read(float_path)
    four = weight_bits == 4
    weighted = list(with_constant_weights(content))
    ops = [op for op in weighted if not four or op.name in calibrate.FOUR_BITS]
    names = layer_names(model, weighted)
    outputs = [op.outputs[0].name for op in ops]
    probes = calibration[:_IMAGES]

    def write(higher: list[str]) -> None:
        calibrate.integer_file(float_path, path, ranges, weight_bits=weight_bits, higher=higher)

    def predicted(file: Path, images: np.ndarray) -> np.ndarray:
        return LiteModel(file, threads=2).predict(images).reshape(len(images), -1)

    write(outputs)
    right = predicted(path, probes)
    alone = {}
    for output in outputs:
        write([other for other in outputs if other != output])
        alone[output] = relative_rms(right, predicted(path, probes))

    def accuracy(file: Path) -> float:
        return 100 * file_accuracy(file, [(validation.images, np.asarray(validation.labels))])

    wanted = accuracy(float_path) - validation.max_drop
    low, high = ("4 bits", "8 bits") if four else ("8 bits", "floats")
    reached = []
    worst = sorted(outputs, key=lambda name: -alone[name])
    most = len(worst) if four else len(worst) - 1  # One layer of integers makes it an integer file.
    for count in range(most + 1):
        higher = worst[:count]
        write(higher)
        reached.append(accuracy(path))
        if reached[-1] >= wanted - 1e-9:
            break
    else:
        raise InputError(
            f"with {high} for {most} of {len(worst)} layers the file's accuracy on the validation "
            f"images is {reached[-1]:.2f}%, below the {wanted:.2f}% that "
            f"max_drop={validation.max_drop:g} asks for: allow more, or use "
            f"{'int8' if four else 'float16'}"
        )
    return {
        names[output]: f"kept {high}: alone in {low} it changes the outputs by "
        f"{alone[output]:.1%} of their rms; with it the accuracy on {len(validation.labels):,} "
        f"validation images went from {before:.2f}% to {after:.2f}%"
        for output, before, after in zip(higher, reached, reached[1:], strict=False)
    }
