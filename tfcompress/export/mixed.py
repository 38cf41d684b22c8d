"""Chooses the layers that keep more bits, so that a file keeps its accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfcompress.errors import InputError, require
from tfcompress.export import calibrate
from tfcompress.export.storage import Rebuild
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.runtime.accuracy import file_accuracy
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import read

# Images on which each layer's rounding is judged alone.
_IMAGES = 64
# Of percent, that sums of floats may differ by.
_ROUNDING = 1e-9


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


def rebuild(
    float_path: Path,
    path: Path,
    weight_bits: int,
    ranges: calibrate.Ranges,
    layers: Mapping[str, str],
) -> Rebuild:
    """Returns how an integer file is written with the next higher precision for some layers.

    Args:
        float_path: the float file.
        path: of the file to write.
        weight_bits: 8 (layers with more are float) or 4 (they have 8 bits).
        ranges: the tensors' ranges.
        layers: the layer of each weighted op, by its output.
    """

    def write(higher: Collection[str]) -> None:
        calibrate.integer_file(float_path, path, ranges, weight_bits=weight_bits, higher=higher)

    more: dict[str, str] = {}
    behind: dict[str, list[str]] = {}
    last = None
    for op in read(float_path).ops:
        if op.subgraph:  # A loop's weights have 8 bits, whatever is asked for.
            continue
        output = op.outputs[0].name
        if output in layers:
            last = output if weight_bits == 8 or op.name in calibrate.FOUR_BITS else None
            if last is not None:
                more[last], behind[last] = _BITS[weight_bits].higher, []
        elif last is not None and weight_bits == 8:
            behind[last].append(output)
    return Rebuild(write, more, layers, behind)


def search(
    rebuild: Rebuild,
    float_path: Path,
    path: Path,
    weight_bits: int,
    calibration: np.ndarray | Rows,
    validation: Validation,
) -> dict[str, str]:
    """Writes the smallest file whose accuracy holds, and returns which layers keep more bits.

    Every weighted op is rounded alone first, and the rms of what that does to the outputs orders
    them. Then the worst keep the next higher precision, one more at a time, until the drop on the
    validation images is within bounds.

    Args:
        rebuild: writes the file.
        float_path: the float file.
        path: of the file to write.
        weight_bits: 8 (layers that stay are float) or 4 (they have 8 bits).
        calibration: images; the first of them judge the single layers.
        validation: images, labels and the bound.

    Returns:
        Layer name to why it kept more bits.

    Raises:
        InputError: the bound is exceeded even with all layers (of `int8`: all but one) at the
            higher precision.
    """
    outputs, write = list(rebuild.more), rebuild.write
    errors = errors_alone(path, [[name] for name in outputs], calibration[:_IMAGES], write)
    alone = dict(zip(outputs, errors, strict=True))
    bits = _BITS[weight_bits]
    # One layer of integers makes it an integer file.
    most = len(outputs) if weight_bits == 4 else len(outputs) - 1
    wanted = _accuracy(float_path, validation) - validation.max_drop
    worst = sorted(outputs, key=lambda name: -alone[name])[:most]
    reached = _widen(path, worst, write, validation, wanted)
    if reached[-1] < wanted - _ROUNDING:
        raise InputError(
            f"with {bits.higher} for {most} of {len(outputs)} layers the file's accuracy on the "
            f"validation images is {reached[-1]:.2f}%, below the {wanted:.2f}% that "
            f"max_drop={validation.max_drop:g} asks for: allow more, or use {bits.instead}"
        )
    return {
        rebuild.layers[output]: f"kept {bits.higher}: alone in {bits.lower} it changes the outputs "
        f"by {alone[output]:.1%} of their rms; with it the accuracy on {len(validation.labels):,} "
        f"validation images went from {before:.2f}% to {after:.2f}%"
        for output, before, after in zip(worst, reached, reached[1:], strict=False)
    }


@dataclasses.dataclass(frozen=True)
class _Bits:
    """How the two precisions are called, and the storage to use where neither is enough."""

    lower: str
    higher: str
    instead: str


_BITS = {
    8: _Bits(lower="8 bits", higher="floats", instead="float16"),
    4: _Bits(lower="4 bits", higher="8 bits", instead="int8"),
}


def errors_alone(
    path: Path,
    groups: Sequence[Sequence[str]],
    images: np.ndarray | Rows,
    write: Callable[[Collection[str]], None],
) -> list[float]:
    """Returns by how much each group of ops, rounded alone, changes the file's outputs.

    Args:
        path: of the file.
        groups: output names of the ops of each group.
        images: to look at.
        write: writes the file with the higher precision for the ops that it is given.

    Returns:
        The relative rms for each group, of the output that it changes most.
    """
    everything = [name for group in groups for name in group]
    write(everything)
    expected = _predicted(path, images)
    errors = []
    for group in groups:
        write([name for name in everything if name not in group])
        pairs = zip(expected, _predicted(path, images), strict=True)
        errors.append(max(relative_rms(*pair) for pair in pairs))
    return errors


def _widen(
    path: Path,
    worst: list[str],
    write: Callable[[Collection[str]], None],
    validation: Validation,
    wanted: float,
) -> list[float]:
    """Writes the file with the higher precision for ever more ops, until its accuracy is enough.

    Returns:
        The accuracies in percent, the first with no op at the higher precision.
    """
    reached: list[float] = []
    for count in range(len(worst) + 1):
        write(worst[:count])
        reached.append(_accuracy(path, validation))
        if reached[-1] >= wanted - _ROUNDING:
            break
    return reached


def _accuracy(path: Path, validation: Validation) -> float:
    """Returns a file's accuracy on the validation images, in percent."""
    return 100 * file_accuracy(path, [(validation.images, np.asarray(validation.labels))])


def _predicted(path: Path, images: np.ndarray | Rows) -> list[np.ndarray]:
    return LiteModel(path, threads=2).run(images)
