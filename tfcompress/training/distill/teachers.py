"""Makes one teacher of several models, or of one that takes images of another size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, tree

from tfcompress.errors import require
from tfcompress.graph.nodes import functional, input_structure, output_structure
from tfcompress.graph.rewrite import fresh_inputs
from tfcompress.training.outputs import as_logits, endings
from tfcompress.training.signature import shapes_alike


def one_teacher(
    models: Sequence[keras.Model],
    student: keras.Model,
    *,
    temperature: float,
    classes: tuple[bool, ...] = (),
) -> keras.Model:
    """Returns a model of the student's inputs that teaches what these models teach together.

    Scores of classes are the mean of the members' probabilities at the temperature, given as the
    logits that have them: the mean of logits would be another teacher. Of other outputs it is the
    mean. Images are brought to the size that a member takes, grey ones to three equal channels.

    Args:
        models: at least one; functional or Sequential. One that takes what the student takes is
            returned as it is.
        student: functional or Sequential.
        temperature: of the distillation.
        classes: for each output, whether its values are scores of classes; empty if all are.

    Raises:
        InputError: a model takes or gives something else than the student.
    """
    require(len(models) > 0, "give at least one teacher")
    for model in models:
        _check(model, student)
    if len(models) == 1 and _takes_the_same(models[0], student):
        return models[0]
    inputs = fresh_inputs(student)
    # In models of our own: their names differ, and the user's models get no new nodes.
    members = [
        (
            model,
            keras.Model(input_structure(model), output_structure(model), name=f"teacher_{number}")(
                _as_taken(inputs, model)
            ),
        )
        for number, model in enumerate(models, 1)
    ]
    if len(members) == 1:
        return keras.Model(inputs, members[0][1], name=models[0].name)
    flags = classes or (True,) * len(functional(student).outputs)
    flat = [
        _mean(place, members, temperature if is_class else None)
        for place, is_class in enumerate(flags)
    ]
    outputs = tree.pack_sequence_as(output_structure(student), flat)
    return keras.Model(inputs, outputs, name="teachers")


def _mean(place: int, members: list[tuple[Any, Any]], temperature: float | None) -> Any:
    """Returns the mean of the members' outputs at a place; without a temperature, of the values."""
    parts = [tree.flatten(outputs)[place] for _, outputs in members]
    if temperature is None:
        return sum(parts) / len(parts)
    softmax = [endings(model)[place] == "softmax" for model, _ in members]
    logs = [
        ops.log_softmax(as_logits(ops.cast(part, "float32"), ends) / temperature)
        for part, ends in zip(parts, softmax, strict=True)
    ]
    mean = ops.logsumexp(ops.stack(logs, axis=-1), axis=-1)  # But for the number of members.
    return ops.log_softmax(mean) * temperature


def _check(model: keras.Model, student: keras.Model) -> None:
    """Refuses a model that can't teach a student.

    Raises:
        InputError: says what it takes or gives, and what is needed.
    """
    taken, given = functional(model), functional(student)
    who = f"teacher '{model.name}'"
    require(
        len(taken.inputs) == len(given.inputs),
        f"{who} has {len(taken.inputs)} inputs, and the model that it is to teach "
        f"{len(given.inputs)}",
    )
    for mine, other in zip(taken.inputs, given.inputs, strict=True):
        shapes = tuple(mine.shape[1:]), tuple(other.shape[1:])
        images = len(shapes[0]) == len(shapes[1]) == 3
        channels = shapes[0][-1:] + shapes[1][-1:]
        require(
            shapes_alike(*shapes) or (images and (len(set(channels)) == 1 or channels == (3, 1))),
            f"{who} takes inputs of shape {shapes[0]}, and the model that it is to teach takes "
            f"{shapes[1]}: images may differ in height and width, and be grey, nothing else",
        )
    ends = [[tuple(y.shape[1:]) for y in each.outputs] for each in (taken, given)]
    require(
        len(ends[0]) == len(ends[1]) and all(map(shapes_alike, *ends)),
        f"{who} gives outputs of shape {', '.join(map(str, ends[0]))}, and the model that it is to "
        f"teach {', '.join(map(str, ends[1]))}: they must be equal, classes in the same order",
    )


def _takes_the_same(model: keras.Model, student: keras.Model) -> bool:
    """Says whether a model can be called with the very inputs of the student."""
    mine, others = input_structure(model), input_structure(student)
    same_form = isinstance(mine, dict) == isinstance(others, dict) and (
        not isinstance(mine, dict) or set(mine) == set(others)
    )
    return same_form and all(
        shapes_alike(tuple(a.shape), tuple(b.shape)) and a.dtype == b.dtype
        for a, b in zip(tree.flatten(mine), tree.flatten(others), strict=True)
    )


def _as_taken(inputs: Any, model: keras.Model) -> Any:
    """Returns symbolic inputs in the sizes, types and structure that a model takes."""
    flat = [
        _resized(x, wanted)
        for x, wanted in zip(tree.flatten(inputs), functional(model).inputs, strict=True)
    ]
    return tree.pack_sequence_as(input_structure(model), flat)


def _resized(x: Any, wanted: Any) -> Any:
    """Returns one input in a wanted one's size and type."""
    if len(wanted.shape) == 4:
        size = wanted.shape[1:3]
        if None not in size and tuple(size) != tuple(x.shape[1:3]):
            x = ops.image.resize(
                ops.cast(x, "float32"), size, antialias=True, data_format="channels_last"
            )
        if wanted.shape[-1] == 3 and x.shape[-1] == 1:
            x = ops.concatenate([x, x, x], axis=-1)
    return x if x.dtype == wanted.dtype else ops.cast(x, wanted.dtype)
