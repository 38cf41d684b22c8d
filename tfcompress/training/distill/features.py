"""Losses that compare maps inside of student and teacher, and which layers these are.

As those of `losses`, they work in Keras's own `Distiller`, too, but for the regressor of `Hint`,
which that one doesn't train.
"""

from __future__ import annotations

import collections
from typing import Any

import keras
from keras import ops, tree

from tfcompress.errors import require
from tfcompress.graph.nodes import functional, nodes
from tfcompress.training.distill.losses import weighted_mean

_SMALLEST = 1e-12


class FeatureLoss(keras.distillation.DistillationLoss):
    """Compares what a layer of the student gives with what one of the teacher gives.

    Args:
        teacher_layer_name: which layer; None for one that `matching_layers` finds.
        student_layer_name: likewise.
    """

    def __init__(
        self, teacher_layer_name: str | None = None, student_layer_name: str | None = None
    ) -> None:
        require(
            (teacher_layer_name is None) == (student_layer_name is None),
            "give both layers' names or none; got teacher_layer_name="
            f"{teacher_layer_name!r} and student_layer_name={student_layer_name!r}",
        )
        self.teacher_layer_name = teacher_layer_name
        self.student_layer_name = student_layer_name

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Finds the layers, where they aren't named.

        Raises:
            ValueError: there are no such layers.
        """
        if self.teacher_layer_name is None:
            pair = middle_layers(teacher, student)
            self.teacher_layer_name, self.student_layer_name = pair
        for title, model, name in (
            ("teacher", teacher, self.teacher_layer_name),
            ("student", student, self.student_layer_name),
        ):
            names = [layer.name for layer in model.layers]
            require(name in names, f"the {title} '{model.name}' has no layer '{name}'")

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Refuses nothing: sizes may differ."""

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FeatureLoss:
        """Makes the loss of its arguments."""
        return cls(**config)


@keras.saving.register_keras_serializable("tfcompress")
class AttentionTransfer(FeatureLoss):
    """Compares where two layers look: the mean of `(Q_s / |Q_s| - Q_t / |Q_t|)^2`.

    Q is a map's sum over the channels of the squares, so that the layers may have different
    numbers of channels. Of maps of different sizes the larger one is averaged.

    Reference:
        Zagoruyko and Komodakis 2017, "Paying More Attention to Attention", arXiv:1612.03928,
        section 3.1; the mean in place of the sum is that of the authors' code.
    """

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Returns the mean over examples and places.

        Args:
            teacher_outputs: maps (n, height, width, channels).
            student_outputs: likewise.
            sample_weight: factors of the examples' losses, (n,); None if all count alike.
            kwargs: ignored.
        """
        maps = [
            ops.sum(ops.square(ops.cast(maps, "float32")), axis=-1, keepdims=True)
            for maps in (teacher_outputs, student_outputs)
        ]
        teacher, student = (_unit(each) for each in _of_one_size(*maps))
        values = ops.mean(ops.square(student - teacher), axis=-1)
        return weighted_mean(values, _one_weight(sample_weight))


@keras.saving.register_keras_serializable("tfcompress")
class Hint(FeatureLoss):
    """Brings a layer of the student to what one of the teacher gives: `mean (r(f_s) - f_t)^2 / 2`.

    r is a regressor that is trained beside the student and is no part of it: a convolution without
    padding that makes maps as small as the teacher's, or a dense layer where there are no maps.
    Where the student's maps are smaller, the teacher's are averaged.

    Reference:
        Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550, section 2.2.
    """

    def __init__(
        self, teacher_layer_name: str | None = None, student_layer_name: str | None = None
    ) -> None:
        super().__init__(teacher_layer_name, student_layer_name)
        self.regressor: keras.layers.Layer | None = None

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Finds the layers and makes the regressor between them, with new weights.

        Raises:
            ValueError: there are no such layers, or no regressor leads from one to the other.
        """
        super().validate_model_compatibility(teacher, student)
        wanted = teacher.get_layer(self.teacher_layer_name).output.shape
        given = student.get_layer(self.student_layer_name).output.shape
        require(
            len(wanted) == len(given) and None not in (wanted[-1], given[-1]),
            f"no regressor leads from {tuple(given[1:])}, which '{self.student_layer_name}' of the "
            f"student gives, to {tuple(wanted[1:])} of the teacher's '{self.teacher_layer_name}'",
        )
        if len(given) == 4 and None not in (*wanted[1:], *given[1:]):
            sizes = [max(given[axis] - wanted[axis], 0) + 1 for axis in (1, 2)]
            self.regressor = keras.layers.Conv2D(wanted[-1], sizes, name="hint_regressor")
        else:
            self.regressor = keras.layers.Dense(wanted[-1], name="hint_regressor")
        self.regressor.build(given)

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Returns half of the mean square of the difference.

        Args:
            teacher_outputs: values (n, ..., channels).
            student_outputs: likewise.
            sample_weight: factors of the examples' losses, (n,); None if all count alike.
            kwargs: ignored.
        """
        assert self.regressor is not None
        made = ops.cast(self.regressor(student_outputs), "float32")
        teacher = ops.cast(teacher_outputs, "float32")
        if len(made.shape) == 4:
            teacher, made = _of_one_size(teacher, made)
        values = ops.mean(ops.square(made - teacher), axis=-1)
        return 0.5 * weighted_mean(values, _one_weight(sample_weight))


def matching_layers(teacher: keras.Model, student: keras.Model) -> list[tuple[str, str]]:
    """Returns the names of the last layers at each height and width that both models have.

    Args:
        teacher: functional or Sequential.
        student: likewise.

    Returns:
        Pairs of the teacher's and the student's layer, those of the largest maps first.
    """
    of_teacher, of_student = _last_of_each_size(teacher), _last_of_each_size(student)
    return [(of_teacher[size], name) for size, name in of_student.items() if size in of_teacher]


def middle_layers(teacher: keras.Model, student: keras.Model) -> tuple[str, str]:
    """Returns the layers in the middle of both models, whose maps have one size if possible.

    Raises:
        InputError: one of the models has no layer between its inputs and its outputs.
    """
    pairs = matching_layers(teacher, student)
    if pairs:
        return pairs[(len(pairs) - 1) // 2]
    found = []
    for title, model in (("teacher", teacher), ("student", student)):
        names = list(_last_of_each_size(model).values())
        names = names or [layer.name for layer, _ in _shapes(model)]
        require(bool(names), f"the {title} '{model.name}' has no layer that a hint could be given")
        found.append(names[(len(names) - 1) // 2])
    return found[0], found[1]


def _last_of_each_size(model: keras.Model) -> dict[tuple[int, int], str]:
    """Returns the last layer of each height and width that maps have, in the order of the sizes."""
    found: dict[tuple[int, int], str] = {}
    for layer, shape in _shapes(model):
        height, width = shape[1:3] if len(shape) == 4 else (None, None)
        if height is not None and width is not None and height * width > 1:
            found[height, width] = layer.name
    return dict(sorted(found.items(), reverse=True))


def _shapes(model: keras.Model) -> list[tuple[Any, tuple[int | None, ...]]]:
    """Returns the layers that a student could learn from, in their order, with their shapes.

    These are called once, give one tensor, and that isn't an output of the model.
    """
    places = [(node.operation, list(node.outputs)) for node in nodes(model)]
    calls = collections.Counter(id(operation) for operation, _ in places)
    ends = {id(output) for output in functional(model).outputs}
    return [
        (layer, tuple(outputs[0].shape))
        for layer, outputs in places
        if isinstance(layer, keras.layers.Layer)
        and calls[id(layer)] == len(outputs) == 1
        and id(outputs[0]) not in ends
    ]


def _of_one_size(first: Any, second: Any) -> tuple[Any, Any]:
    """Returns two maps (n, height, width, channels), the larger one averaged."""
    sizes = [tuple(each.shape[1:3]) for each in (first, second)]
    least = tuple(min(pair) for pair in zip(*sizes, strict=True))
    return _averaged(first, least), _averaged(second, least)


def _averaged(maps: Any, size: tuple[int, ...]) -> Any:
    """Returns maps of a height and width at most their own."""
    height, width = maps.shape[1:3]
    if (height, width) == size:
        return maps
    if height % size[0] == 0 and width % size[1] == 0:
        return ops.average_pool(maps, (height // size[0], width // size[1]))
    return ops.image.resize(maps, size, antialias=True, data_format="channels_last")


def _unit(maps: Any) -> Any:
    """Returns maps (n, height, width, 1) as vectors of length 1."""
    flat = ops.reshape(maps, (-1, maps.shape[1] * maps.shape[2]))
    length = ops.sqrt(ops.maximum(ops.sum(ops.square(flat), axis=-1, keepdims=True), _SMALLEST))
    return flat / length


def _one_weight(sample_weight: Any) -> Any:
    """Returns the examples' weights if there is one array of one number each, and else none."""
    flat = tree.flatten(sample_weight)
    alone = len(flat) == 1 and flat[0] is not None and len(flat[0].shape) == 1
    return flat[0] if alone else None
