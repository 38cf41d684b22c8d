"""Compares a run's files with the teacher, and file with file on the same test examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.data.protocol import Batch
from tfcompress.pipeline.inputs import Task
from tfcompress.runtime.accuracy import paired_test
from tfcompress.training.evaluate import predictor
from tfcompress.training.judging import Judgement, held_out

Predictions = Iterable[tuple[list[np.ndarray], Batch]]


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A network's teacher, and what it makes of the test examples.

    Attributes:
        name: `baseline`, or the names of files.
        judged: its predictions.
        predict: gives its outputs for a batch's inputs.
    """

    name: str
    judged: Judgement
    predict: Callable[[Any], list[np.ndarray]]

    def to_json(self) -> dict[str, Any]:
        """Returns what the report says of it."""
        return {"name": self.name, "accuracy": self.judged.value}


def judged_by_keras(model: keras.Model, task: Task) -> Judgement:
    """Returns what a Keras model's predictions on the held-out examples are worth."""
    return task.judge.judge(held_out(predictor(model), task.data, 256))


class Likeness:
    """Measures how like a teacher's a file's predictions are.

    Args:
        teacher: None measures nothing.
    """

    def __init__(self, teacher: Teacher | None) -> None:
        self._teacher = teacher
        # Of each output the sums of squares: of the differences, and of the teacher's values.
        self._sums: list[np.ndarray] = []

    def watch(self, predictions: Predictions) -> Iterator[tuple[list[np.ndarray], Batch]]:
        """Yields a file's outputs as they come, and compares them where they aren't labels."""
        teacher = self._teacher
        compares = teacher is not None and teacher.judged.labels is None
        for outputs, batch in predictions:
            if teacher is not None and compares:
                pairs = zip(outputs, teacher.predict(batch.x), strict=True)
                sums = [np.array([_squares(own - its), _squares(its)]) for own, its in pairs]
                before = self._sums or [np.zeros(2)] * len(sums)
                self._sums = [a + b for a, b in zip(before, sums, strict=True)]
            yield outputs, batch

    def found(self, judged: Judgement) -> dict[str, Any]:
        """Returns the fields of a `FileResult` that this gives.

        Args:
            judged: the file's predictions.
        """
        if self._teacher is None:
            return {}
        if self._teacher.judged.labels is not None and judged.labels is not None:
            same = judged.labels == self._teacher.judged.labels
            return {"teacher_agreement": float(same.mean())}
        shares = [float(np.sqrt(a / b)) for a, b in self._sums if b > 0]
        return {"teacher_relative_rms": max(shares)} if shares else {}


def _squares(values: np.ndarray) -> float:
    return float(np.sum(np.square(values, dtype=np.float64)))


def paired_tests(after: Judgement, others: Mapping[str, Sequence[Judgement]]) -> dict[str, Any]:
    """Returns the fields of a `FileResult` on McNemar's test of a file against others.

    Args:
        after: the file's predictions.
        others: what each of the others made of the same examples, by the word behind `against_`;
            one or none for each.
    """
    tests: dict[str, Any] = {}
    for word, judgements in others.items():
        for before in judgements:
            first, second = before.per_example, after.per_example
            if first is None or second is None or {*np.unique([first, second])} - {0, 1}:
                continue
            tests[f"against_{word}"] = dataclasses.asdict(paired_test(first == 1, second == 1))
    return tests
