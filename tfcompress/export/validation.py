"""Holds files to a metric: the examples, the bound, and what a file is worth on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np

from tfcompress.data import nested
from tfcompress.data.examples import Examples
from tfcompress.data.protocol import Batch
from tfcompress.errors import one_of, require
from tfcompress.export.representative import as_rows
from tfcompress.metric import Metric
from tfcompress.runtime import LiteModel
from tfcompress.runtime.rows import Rows
from tfcompress.training.judging import Judge, judge_of
from tfcompress.training.objective import objective

# Of percent, that sums of floats may differ by.
_ROUNDING = 1e-9
# What the choice of bits saves.
Price = Literal["bytes", "time"]
# Of weights, as the runtime multiplies them by 8-bit inputs.
BITS = (8, 4, 2)


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
        bits: what a weight of a layer may have in storage int8_int4; 8 is one of them. Storage
            int8 chooses between 8 bits and floats.
        price: what is to be saved: `bytes` of the file, or `time`, the microseconds that each
            layer takes alone on this machine.
    """

    images: Any
    labels: Any
    max_drop: float = 0.5
    metric: str | None = None
    judge: Judge | None = None
    bits: Sequence[int] = (8, 4)
    price: Price = "bytes"

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
        check_bits("bits", self.bits)
        one_of("price", self.price, get_args(Price))


def check_bits(name: str, bits: Sequence[int]) -> None:
    """Refuses bits that no layer of a file of integers can have.

    Raises:
        InputError: names them by `name`.
    """
    require(
        8 in bits and set(bits) <= set(BITS) and len(set(bits)) > 1,
        f"{name} takes 8 and one or more of {', '.join(map(str, BITS[1:]))}; got {tuple(bits)}",
    )


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
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
    def of(cls, validation: Validation, value: float) -> Bound:
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


def value_of(path: Path, validation: Validation) -> float:
    """Returns the metric of a file on checked validation examples."""
    assert validation.judge is not None
    outputs = predicted(path, validation.images)
    return validation.judge.judge([(outputs, Batch(None, validation.labels))]).value


def predicted(path: Path, images: np.ndarray | Rows) -> list[np.ndarray]:
    """Returns a file's outputs for inputs as rows."""
    return LiteModel(path).run(images)
