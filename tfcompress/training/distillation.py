"""Trains a student on a teacher's soft targets."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, tree

from tfcompress import graph
from tfcompress.graph.nodes import input_structure, output_structure
from tfcompress.training.outputs import as_logits, endings


class Distiller(keras.Model):
    """The layers of a student, with a loss that also asks them to agree with a teacher.

    ```
    loss = (1 - weight) * loss(y, student) + weight * T^2 * KL(softmax(t / T) || softmax(s / T))
    ```

    with the logits t of the teacher and s of the student. Of an output whose values are no scores
    of classes, the mean of (t - s)^2 stands in place of `T^2 * KL(...)`; several outputs' are
    added. The teacher is copied and frozen.

    Args:
        student: the model that is trained; functional.
        teacher: a trained model of the same inputs and outputs; functional.
        weight: share of the soft targets, 0 to 1.
        temperature: T, positive.
        outputs_given: whether the inputs are pairs of images and the teacher's outputs for them,
            so that the teacher needn't be run.
        classes: for each output, whether its values are scores of classes; None if all are.

    Reference:
        Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network",
        arXiv:1503.02531, section 2.
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        *,
        weight: float,
        temperature: float,
        outputs_given: bool = False,
        classes: tuple[bool, ...] | None = None,
    ) -> None:
        super().__init__(input_structure(student), output_structure(student), name=student.name)
        if outputs_given:
            self.input_spec = None  # Which would refuse the pairs.
        self.teacher = None if outputs_given else graph.clone(teacher)
        if self.teacher is not None:
            self.teacher.trainable = False
        self._weight = weight
        self._temperature = temperature
        self._endings = tuple(zip(endings(student), endings(teacher), strict=True))
        self._classes = (True,) * len(self._endings) if classes is None else classes

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the student's output."""
        own = inputs if self.teacher is not None else inputs[0]
        return super().call(own, training=training, mask=mask)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the weighted sum of the labels' loss and the teacher's."""
        given = x[1] if self.teacher is None else self.teacher(x, training=False)
        soft = sum(
            self._difference(student, teacher, place)
            for place, (student, teacher) in enumerate(
                zip(tree.flatten(y_pred), tree.flatten(given), strict=True)
            )
        )
        if y is None:  # Nothing but the teacher says what is right.
            return soft / self._weight
        hard = super().compute_loss(x, y, y_pred, sample_weight, training)
        return (1 - self._weight) * hard + soft

    def _difference(self, student: Any, teacher: Any, place: int) -> Any:
        """Returns an output's part of the loss for its difference from the teacher's."""
        # Models with half precision give 16-bit floats, the labels' loss 32-bit ones.
        student, teacher = ops.cast(student, "float32"), ops.cast(teacher, "float32")
        if not self._classes[place]:
            return self._weight * ops.mean(ops.square(student - teacher))
        student_ending, teacher_ending = self._endings[place]
        student = as_logits(student, student_ending == "softmax")
        teacher = as_logits(teacher, teacher_ending == "softmax")
        difference = ops.mean(divergence(student, teacher, self._temperature))
        return self._weight * self._temperature**2 * difference


def divergence(student: Any, teacher: Any, temperature: float) -> Any:
    """Returns KL(softmax(teacher / T) || softmax(student / T)) of logits, one value an image.

    Args:
        student: logits (images, classes).
        teacher: logits of the same shape.
        temperature: T.
    """
    student, teacher = student / temperature, teacher / temperature
    log_ratio = ops.log_softmax(teacher) - ops.log_softmax(student)
    return ops.sum(ops.softmax(teacher) * log_ratio, axis=-1)
