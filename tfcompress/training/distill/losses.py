"""Losses that compare a student's outputs with its teacher's.

They are `keras.distillation.DistillationLoss`es: Keras's own `Distiller` takes them as ours does.
t and s are the logits of teacher and student, T is the temperature. Whatever carries `T^2` keeps
the size of its gradient as T changes.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, tree

from tfcompress.errors import InputError, require
from tfcompress.graph.nodes import functional
from tfcompress.training.outputs import as_logits, endings

# Stands for minus infinity where a class is left out: its exponential is 0.
_LEFT_OUT = -1e4


class OutputLoss(keras.distillation.DistillationLoss):
    """Compares outputs of classes, given as logits or as probabilities.

    Which of the two a model gives is seen from its last layer when a distiller is made of it;
    without a distiller, outputs are logits. Of an output that isn't scores of classes, the mean of
    `(s - t)^2` is the loss. Several outputs' are added.

    Args:
        classes: for each output, whether its values are scores of classes; None if all are.
    """

    # Keras's distiller reads them: the final outputs are compared.
    teacher_layer_name: str | None = None
    student_layer_name: str | None = None

    def __init__(self, *, classes: tuple[bool, ...] | None = None) -> None:
        self.classes = None if classes is None else tuple(classes)
        self._teacher_endings: tuple[str, ...] = ()
        self._student_endings: tuple[str, ...] = ()

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Notes what the models' outputs are."""
        self._teacher_endings = _endings(teacher)
        self._student_endings = _endings(student)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Refuses outputs of another number or shape.

        Raises:
            ValueError: says which.
        """
        teacher, student = (
            [tuple(y.shape[1:]) for y in tree.flatten(outputs)]
            for outputs in (teacher_outputs, student_outputs)
        )
        require(
            teacher == student,
            f"teacher and student must give outputs of equal shapes; got {teacher} and {student}",
        )

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        sample_weight: Any = None,
        targets: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Returns the mean over the examples.

        Args:
            teacher_outputs: a tensor or several, the classes along the last axis.
            student_outputs: likewise.
            sample_weight: factors of the examples' losses, one array for all outputs or one each.
            targets: the examples' labels, if they are known, one array for each output.
            kwargs: ignored.
        """
        teachers, students = tree.flatten(teacher_outputs), tree.flatten(student_outputs)
        weights = _for_each(sample_weight, len(students))
        labels = _for_each(targets, len(students))
        return sum(
            self._of_output(place, teacher, student, weights[place], labels[place])
            for place, (teacher, student) in enumerate(zip(teachers, students, strict=True))
        )

    def _of_output(self, place: int, teacher: Any, student: Any, weight: Any, labels: Any) -> Any:
        """Returns one output's part of the loss."""
        # Models with half precision give 16-bit floats, the labels' loss 32-bit ones.
        student, teacher = ops.cast(student, "float32"), ops.cast(teacher, "float32")
        if self.classes is not None and not self.classes[place]:
            return weighted_mean(ops.square(student - teacher), weight)
        student = as_logits(student, _is_softmax(self._student_endings, place))
        teacher = as_logits(teacher, _is_softmax(self._teacher_endings, place))
        return self.of_logits(teacher, student, weight, labels)

    def of_logits(self, teacher: Any, student: Any, weight: Any, labels: Any) -> Any:
        """Returns the loss of one output.

        Args:
            teacher: logits (n, ..., classes), float32.
            student: likewise.
            weight: the examples' factors, (n,) or (n, ...); None if all count alike.
            labels: classes or one-hot vectors; None where they aren't known.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"classes": self.classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OutputLoss:
        """Makes the loss of its arguments."""
        return cls(**config)


@keras.saving.register_keras_serializable("tfcompress")
class KD(OutputLoss):
    """Compares softened probabilities.

    ```
    T^2 * KL(softmax(t / T) || softmax(s / T))
    ```

    Args:
        temperature: T.
        classes: as in `OutputLoss`.

    Reference:
        Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network",
        arXiv:1503.02531, section 2.
    """

    def __init__(
        self, temperature: float = 4.0, *, classes: tuple[bool, ...] | None = None
    ) -> None:
        super().__init__(classes=classes)
        require(temperature > 0, f"temperature must be positive; got {temperature}")
        self.temperature = temperature

    def of_logits(self, teacher: Any, student: Any, weight: Any, labels: Any) -> Any:
        """Returns the mean of the divergences, times T^2."""
        values = divergence(student, teacher, self.temperature)
        return self.temperature**2 * weighted_mean(values, weight)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("tfcompress")
class Softmax(OutputLoss):
    """Compares probabilities as they are: `KL(softmax(t) || softmax(s))`.

    Beside `Labels` it is the loss of Rassadin and Savchenko 2017, "Deep neural networks performance
    optimization in image recognition", who learn from a teacher alone.
    """

    def of_logits(self, teacher: Any, student: Any, weight: Any, labels: Any) -> Any:
        """Returns the mean of the divergences."""
        return weighted_mean(divergence(student, teacher, 1.0), weight)


@keras.saving.register_keras_serializable("tfcompress")
class Labels(OutputLoss):
    """Takes the class that the teacher gives for the label: `-log softmax(s)[argmax t]`.

    Reference:
        Tramer et al. 2016, "Stealing Machine Learning Models via Prediction APIs",
        arXiv:1609.02943, section 6.
    """

    def of_logits(self, teacher: Any, student: Any, weight: Any, labels: Any) -> Any:
        """Returns the mean of the cross-entropies."""
        chosen = ops.one_hot(ops.argmax(teacher, axis=-1), teacher.shape[-1], dtype="float32")
        return weighted_mean(-ops.sum(chosen * ops.log_softmax(student), axis=-1), weight)


@keras.saving.register_keras_serializable("tfcompress")
class Logits(OutputLoss):
    """Compares logits: the mean over the classes of `((s - mean s) - (t - mean t))^2`.

    What is added to all logits of an example changes no probability, and so it is left out. It is
    what `KD` becomes at a high temperature, but for a factor.

    Reference:
        Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", arXiv:1312.6184, section 2.2.
    """

    def of_logits(self, teacher: Any, student: Any, weight: Any, labels: Any) -> Any:
        """Returns the mean of the squares."""
        difference = student - teacher
        difference = difference - ops.mean(difference, axis=-1, keepdims=True)
        return weighted_mean(ops.mean(ops.square(difference), axis=-1), weight)


@keras.saving.register_keras_serializable("tfcompress")
class DKD(OutputLoss):
    """Weighs how sure the teacher is of the target class, and what it gives the others, apart.

    ```
    T^2 * (alpha * TCKD + beta * NCKD)
    ```

    TCKD is the divergence between the probabilities (target, all others), NCKD that between the
    others' probabilities divided by their sum. `KD` is `TCKD + (1 - p) * NCKD` with the teacher's
    p of the target: where the teacher is sure, the others hardly count. The target is the label,
    or, where that isn't known (Keras's own `Distiller` hands no labels on), the teacher's class.

    Args:
        alpha: factor of the target's part.
        beta: factor of the others' part.
        temperature: T.
        classes: as in `OutputLoss`.

    Reference:
        Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679, section 3.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        *,
        classes: tuple[bool, ...] | None = None,
    ) -> None:
        super().__init__(classes=classes)
        require(temperature > 0, f"temperature must be positive; got {temperature}")
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def of_logits(self, teacher: Any, student: Any, weight: Any, labels: Any) -> Any:
        """Returns the mean of the two divergences' sum, times T^2."""
        target = ops.one_hot(_target(teacher, labels), teacher.shape[-1], dtype="float32")
        t = _split(ops.log_softmax(teacher / self.temperature), target)
        s = _split(ops.log_softmax(student / self.temperature), target)
        of_target = sum(
            ops.exp(mine) * (mine - other) for mine, other in zip(t[:2], s[:2], strict=True)
        )
        of_others = ops.sum((1 - target) * ops.exp(t[2]) * (t[2] - s[2]), axis=-1)
        values = self.alpha * of_target + self.beta * of_others
        return self.temperature**2 * weighted_mean(values, weight)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        own = {"alpha": self.alpha, "beta": self.beta, "temperature": self.temperature}
        return {**super().get_config(), **own}


def divergence(student: Any, teacher: Any, temperature: float) -> Any:
    """Returns KL(softmax(teacher / T) || softmax(student / T)) of logits, one value an example.

    Args:
        student: logits (n, ..., classes).
        teacher: logits of the same shape.
        temperature: T.
    """
    student, teacher = student / temperature, teacher / temperature
    log_ratio = ops.log_softmax(teacher) - ops.log_softmax(student)
    return ops.sum(ops.softmax(teacher) * log_ratio, axis=-1)


def weighted_mean(values: Any, weight: Any) -> Any:
    """Returns the mean of values times the examples' weights, as Keras's losses do.

    Args:
        values: (n, ...).
        weight: (n,), or with further axes of the values'; None if all count alike.
    """
    if weight is None:
        return ops.mean(values)
    weight = ops.cast(weight, values.dtype)
    if len(weight.shape) > len(values.shape):  # A last axis of 1, as of labels.
        weight = ops.squeeze(weight, -1)
    missing = len(values.shape) - len(weight.shape)
    return ops.mean(values * ops.reshape(weight, (*ops.shape(weight), *(1,) * missing)))


def _target(teacher: Any, labels: Any) -> Any:
    """Returns the number of each example's target class."""
    if labels is None:
        return ops.argmax(teacher, axis=-1)
    rank = len(teacher.shape)
    if len(labels.shape) == rank and labels.shape[-1] == teacher.shape[-1]:
        return ops.argmax(labels, axis=-1)
    if len(labels.shape) == rank:
        labels = ops.squeeze(labels, -1)
    return ops.cast(labels, "int32")


def _split(log_p: Any, target: Any) -> tuple[Any, Any, Any]:
    """Returns the logarithms of p(target), of p(any other), and of each other's share of that."""
    of_target = ops.sum(target * log_p, axis=-1)
    others = ops.where(target > 0, _LEFT_OUT, log_p)
    of_others = ops.logsumexp(others, axis=-1)
    return of_target, of_others, others - ops.expand_dims(of_others, -1)


def _endings(model: Any) -> tuple[str, ...]:
    """Returns the activations of a model's outputs; none of one without a graph."""
    try:
        functional(model)
    except InputError:
        return ()
    return endings(model)


def _is_softmax(found: tuple[str, ...], place: int) -> bool:
    """Says whether an output is probabilities."""
    return place < len(found) and found[place] == "softmax"


def _for_each(values: Any, count: int) -> list[Any]:
    """Returns one value for each output, a single one for all of them."""
    flat = tree.flatten(values)
    return flat if len(flat) == count else flat[:1] * count
