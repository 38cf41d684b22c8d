"""Chooses the layers that keep more bits, so that a file keeps its accuracy or another metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.data import nested
from tfcompress.data.examples import Examples
from tfcompress.data.protocol import Batch
from tfcompress.errors import InputError, require
from tfcompress.export import calibrate
from tfcompress.export.representative import as_rows
from tfcompress.export.storage import Rebuild
from tfcompress.metric import ACCURACY, Metric
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import read
from tfcompress.training.judging import Judge, judge_of
from tfcompress.training.objective import objective

# Images on which each layer's rounding is judged alone.
_IMAGES = 64
# Of percent, that sums of floats may differ by.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Validation:
    """The examples and the bound that decide which layers keep more bits.

    Attributes:
        images: inputs as the model takes them, such as normalised images, float32 (images, height,
            width, channels), or a dictionary or list of arrays; not those of the test.
        labels: their targets as `fit` takes them, such as classes.
        max_drop: by how much a file may be worse on them than the float file: percentage points
            of accuracy and other shares, percent of other metrics' values.
        metric: of Keras's, as the command's `--metric` takes it; None for the first that the model
            was compiled with, or accuracy, mean IoU or mean absolute error, as fits the targets.
        judge: what judges predictions already; None for one by the metric.
    """

    images: Any
    labels: Any
    max_drop: float = 0.5
    metric: str | None = None
    judge: Judge | None = None

    def __post_init__(self) -> None:
        """Refuses what no metric can be taken on."""
        images, labels = (
            min(map(len, keras.tree.flatten(part)), default=0)
            for part in (
                self.images.arrays if isinstance(self.images, Rows) else self.images,
                self.labels,
            )
        )
        require(
            0 < images == labels,
            f"validation needs a label for each image; got {images} images and {labels} labels",
        )
        require(self.max_drop >= 0, f"max_drop must be 0 or more; got {self.max_drop}")


def checked(model: keras.Model, validation: Validation) -> Validation:
    """Returns validation examples as rows, with what judges them.

    Raises:
        InputError: the model doesn't take them, or the metric isn't known.
    """
    rows = as_rows(model, validation.images, "validation")
    if validation.judge is not None:
        return dataclasses.replace(validation, images=rows)
    labels = nested.arrays(validation.labels, "labels of validation", parts=len(model.outputs))
    inputs = rows.arrays if len(rows.arrays) > 1 else rows.arrays[0]
    data = Examples(train=Batch(inputs, labels), name="validation")
    judge = judge_of(model, data, objective(model, data), validation.metric)
    return dataclasses.replace(validation, images=rows, labels=labels, judge=judge)


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
    validation examples is within bounds.

    Args:
        rebuild: writes the file.
        float_path: the float file.
        path: of the file to write.
        weight_bits: 8 (layers that stay are float) or 4 (they have 8 bits).
        calibration: images; the first of them judge the single layers.
        validation: examples and the bound, as `checked` returns them.

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
    bound = _Bound.of(validation, _value(float_path, validation))
    noun = "images" if bound.metric == ACCURACY else "examples"
    worst = sorted(outputs, key=lambda name: -alone[name])[:most]
    reached = _widen(path, worst, write, validation, bound)
    if not bound.holds(reached[-1]):
        raise InputError(
            f"with {bits.higher} for {most} of {len(outputs)} layers the file's "
            f"{bound.metric.name} on the validation {noun} is {bound.text(reached[-1])}, "
            f"{bound.missed()} that "
            f"max_drop={validation.max_drop:g} asks for: allow more, or use {bits.instead}"
        )
    return {
        rebuild.layers[output]: f"kept {bits.higher}: alone in {bits.lower} it changes the outputs "
        f"by {alone[output]:.1%} of their rms; with it the {bound.metric.name} on "
        f"{len(validation.images):,} validation {noun} went from {bound.text(before)} to "
        f"{bound.text(after)}"
        for output, before, after in zip(worst, reached, reached[1:], strict=False)
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Bound:
    """What a file must reach.

    Attributes:
        metric: by which files are judged.
        value: the float file's.
        max_drop: by how many points or percent a file may be worse.
    """

    metric: Metric
    value: float
    max_drop: float

    @classmethod
    def of(cls, validation: Validation, value: float) -> _Bound:
        """Returns the bound of checked validation examples, by the float file's value."""
        assert validation.judge is not None
        return cls(metric=validation.judge.metric, value=value, max_drop=validation.max_drop)

    def holds(self, value: float) -> bool:
        """Says whether a file's value is good enough."""
        return self.metric.loss(self.value, value) <= self.max_drop + _ROUNDING

    def text(self, value: float) -> str:
        """Writes a value, a share in percent."""
        return self.metric.axis_text(value) + "%" * self.metric.share

    def missed(self) -> str:
        """Says which value would have been good enough, as an error puts it."""
        factor = -1 if self.metric.higher_is_better else 1
        by = self.max_drop / 100 * (1 if self.metric.share else abs(self.value))
        side = "below" if self.metric.higher_is_better else "above"
        return f"{side} the {self.text(self.value + factor * by)}"


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
    bound: _Bound,
) -> list[float]:
    """Writes the file with the higher precision for ever more ops, until it is good enough.

    Returns:
        The metric's values, the first with no op at the higher precision.
    """
    reached: list[float] = []
    for count in range(len(worst) + 1):
        write(worst[:count])
        reached.append(_value(path, validation))
        if bound.holds(reached[-1]):
            break
    return reached


def _value(path: Path, validation: Validation) -> float:
    """Returns the metric of a file on checked validation examples."""
    assert validation.judge is not None
    outputs = _predicted(path, validation.images)
    return validation.judge.judge([(outputs, Batch(None, validation.labels))]).value


def _predicted(path: Path, images: np.ndarray | Rows) -> list[np.ndarray]:
    return LiteModel(path, threads=2).run(images)
