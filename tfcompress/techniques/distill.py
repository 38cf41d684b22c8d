"""Distillation: another network learns, from scratch, what the trained one answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tfcompress.config import Training
from tfcompress.errors import require
from tfcompress.options import searched
from tfcompress.techniques import _channel_widths as widths
from tfcompress.techniques._new_weights import with_new_weights
from tfcompress.techniques.base import (
    Candidate,
    Control,
    LayerLine,
    Technique,
    distilled,
    fit_keras,
)

if TYPE_CHECKING:
    import keras

    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext

# As `channels` has them: what layers keep at least, and what their widths are multiples of.
_RULES = widths.Rules(macs_ratio=1.0, scope="layer", min_channels=4, round_to=widths.ROUND_TO)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillOptions:
    """Which network learns.

    Attributes:
        student: a builder's name, or a `.keras` or `.h5` file, whose weights it starts from; None
            for the model's own layers, narrower and with new weights.
        student_width: the share of its channels that each layer of such a student has, rounded to
            multiples of 16: about its square of the multiply-accumulates. 0.5 is the half-width
            student of Rassadin and Savchenko 2017; 1 is the same network again (Furlanello et al.
            2018, arXiv:1805.04770).
        control: whether the command also trains the same student, from the same weights and for as
            many epochs, by the labels alone: the report says what that file is worth.
    """

    student: str | None = None
    student_width: float = searched(0.5, low=0.25, high=1.0, step=0.125, grows=2)
    control: bool = False

    def __post_init__(self) -> None:
        """Refuses widths that no narrower network has."""
        require(
            0 < self.student_width <= 1,
            f"option student_width must be above 0 and at most 1; got {self.student_width}",
        )
        require(
            self.student is None or self.student_width == 0.5,
            f"option student_width narrows the model itself, and student={self.student} is another "
            "network: give one of the two",
        )


def _transform(candidate: Candidate, options: DistillOptions) -> Candidate:
    """Puts the student in the model's place.

    Raises:
        InputError: there is no such student, or it takes or gives something else than the model.
    """
    from tfcompress.graph import parameters

    model, student = candidate.model, _student(candidate, options)
    counts = f"{parameters(student):,} parameters in place of {parameters(model):,}"
    line = LayerLine(student.name, type(student).__name__, "student", f"new weights, {counts}")
    if options.student is not None:
        line = dataclasses.replace(line, reason=f"{options.student}, {counts}")
    return candidate.then(student, line)


def _student(candidate: Candidate, options: DistillOptions) -> keras.Model:
    """Returns the network that learns."""
    model = candidate.model
    if options.student is None:
        return _narrower(model, options.student_width)
    from tfcompress import models
    from tfcompress.graph import clone
    from tfcompress.graph.nodes import functional

    flat = functional(model)
    if models.is_file(options.student):
        student = clone(models.load(options.student))
    else:
        require(
            len(flat.inputs) == len(flat.outputs) == 1 and len(flat.outputs[0].shape) == 2,
            f"builder {options.student} makes networks from one input to one score of each class, "
            f"and '{model.name}' is another kind: give option student a .keras file",
        )
        shape = flat.inputs[0].shape[1:]
        student = models.build(options.student, shape, int(flat.outputs[0].shape[-1]))
    student = _ending_alike(student, candidate)
    _check(model, student, options.student)
    return student


def _narrower(model: keras.Model, width: float) -> keras.Model:
    """Returns the model's layers with a share of their channels, and with new weights.

    Raises:
        InputError: no layer has channels that can be cut out.
    """
    from tfcompress.graph.channels import ChannelGraph

    if width == 1:
        return with_new_weights(model)
    graph = ChannelGraph(model)
    widths.check_any_free(graph)
    alive, first = {}, {}
    for name, group in graph.groups.items():
        if group.frozen:
            continue
        first[name] = -np.arange(group.size, dtype="float64")
        mask = np.arange(group.size) < _RULES.rounded(round(width * group.size), group)
        mask[list(group.fixed)] = True
        alive[name] = mask
    widths.revive(graph, first, alive)
    return with_new_weights(graph.keep({n: np.flatnonzero(mask) for n, mask in alive.items()}))


def _ending_alike(student: keras.Model, candidate: Candidate) -> keras.Model:
    """Returns a student that ends in probabilities if the model does, whose loss takes them.

    Raises:
        InputError: it ends in probabilities, and the model that was compiled in logits.
    """
    from tfcompress.training.outputs import endings

    theirs, its_own = endings(candidate.model), endings(student)
    if theirs == its_own or len(theirs) != len(its_own):
        return student
    if theirs == ("softmax",) and its_own == ("linear",):
        from tfcompress.deferred import keras

        outputs = keras.layers.Softmax(name="probabilities")(student.outputs[0])
        return keras.Model(student.inputs, outputs, name=student.name)
    goal = candidate.objective
    require(
        goal is None or not goal.users,
        f"the model was compiled with a loss for outputs that end in {', '.join(theirs)}, and the "
        f"student '{student.name}' ends in {', '.join(its_own)}: give it the same ending",
    )
    return student


def _check(model: keras.Model, student: keras.Model, name: str) -> None:
    """Refuses a student that doesn't take what the model takes, or gives something else.

    Raises:
        InputError: says which.
    """
    from tfcompress.graph.nodes import functional
    from tfcompress.training.signature import shapes_alike

    for title in ("inputs", "outputs"):
        shapes = [
            [tuple(tensor.shape[1:]) for tensor in getattr(functional(each), title)]
            for each in (model, student)
        ]
        alike = len(shapes[0]) == len(shapes[1]) and all(map(shapes_alike, *shapes))
        wanted, got = (", ".join(map(str, each)) for each in shapes)
        require(
            alike,
            f"option student: the {title} of {name} have the shape {got}, and those of the model "
            f"'{model.name}' {wanted}",
        )


def _fit(
    candidate: Candidate,
    options: DistillOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains the student; the control starts from the same weights."""
    if options.control:
        from tfcompress.graph import clone

        control = Control(
            clone(candidate.model),
            "the same student without a teacher",
            dataclasses.replace(training, distillation=None),
        )
        candidate = dataclasses.replace(candidate, control=control)
    return fit_keras(candidate, options, data, training, context)


TECHNIQUE = Technique(
    name="distill",
    summary="another, smaller network learns what the trained one answers",
    reference=(
        "Hinton, Vinyals, Dean 2015, arXiv:1503.02531; Rassadin and Savchenko 2017 (by the "
        "teacher's answers alone)"
    ),
    options=DistillOptions,
    transform=_transform,
    check=_student,
    fit=_fit,
    training=distilled(epochs=20),
    storages=("float32",),
    preserves=frozenset(),
)
