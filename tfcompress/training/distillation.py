"""Trains a student on a teacher's soft targets."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress import graph
from tfcompress.training.outputs import as_logits, ends_in_softmax


class Distiller(keras.Model):
    """A student whose loss also asks it to agree with a teacher.

    ```
    loss = (1 - weight) * loss(y, student) + weight * T^2 * KL(softmax(t / T) || softmax(s / T))
    ```

    with the logits t of the teacher and s of the student. The teacher is copied and frozen.

    Args:
        student: the model that is trained; functional.
        teacher: a trained model of the same inputs and classes; functional.
        weight: share of the soft targets, 0 to 1.
        temperature: T, positive.
        outputs_given: whether the inputs are pairs of images and the teacher's outputs for them,
            so that the teacher needn't be run.

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
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = None if outputs_given else graph.clone(teacher)
        if self.teacher is not None:
            self.teacher.trainable = False
        self._weight = weight
        self._temperature = temperature
        self._softmax = ends_in_softmax(student), ends_in_softmax(teacher)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the student's output."""
        images = inputs if self.teacher is not None else inputs[0]
        return self.student(images, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the weighted sum of the labels' loss and the teacher's."""
        hard = super().compute_loss(x, y, y_pred, sample_weight, training)
        # Models with half precision give 16-bit floats, the labels' loss 32-bit ones.
        student = as_logits(ops.cast(y_pred, "float32"), self._softmax[0])
        taught = x[1] if self.teacher is None else self.teacher(x, training=False)
        teacher = as_logits(ops.cast(taught, "float32"), self._softmax[1])
        soft = ops.mean(divergence(student, teacher, self._temperature))
        return (1 - self._weight) * hard + self._weight * self._temperature**2 * soft


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
