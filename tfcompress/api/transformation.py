"""Replaces layers without training: `tfcompress.transform`; and checks its model and technique."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras

from tfcompress import techniques
from tfcompress.api.file_ratios import FileRatios
from tfcompress.errors import InputError, require, unknown_name
from tfcompress.graph.nodes import functional
from tfcompress.training.fit import compiled_alike


def transform(model: keras.Model, technique: str, **options: Any) -> keras.Model:
    """Rebuilds a model by a technique, without training it.

    Args:
        model: functional or Sequential; it stays as it is.
        technique: a name of `tfcompress.techniques.names()`, or several as in `cp+hashed`. Not
            those that act while the network is trained, such as `prune`, which `compress` applies,
            or as the file is written, such as `int8`, which are storages of `export`.
        options: those of the techniques, such as `activation="relu"`.

    Returns:
        A new functional model with weights of its own; if the model was compiled, with the same
        loss, metrics and optimizer settings.

    Raises:
        InputError: an unknown technique or option, a technique that changes nothing without
            training, or a model that it can't be applied to.
    """
    check_model(model)
    steps = chosen_steps(technique, options, {})
    for step in steps:
        check_transforms(step.technique)
    candidate = techniques.Candidate(model, file_ratio=FileRatios())
    for step in steps:
        candidate = step.technique.transform(candidate, step.options)
    return compiled_alike(candidate.model, model)


def check_model(model: Any) -> None:
    """Refuses what is no Keras 3 model, such as a file's name."""
    if isinstance(model, str | os.PathLike):
        raise InputError(f"model takes a Keras model: keras.saving.load_model('{model}') loads one")
    kind = f"{type(model).__module__}.{type(model).__name__}"
    require(isinstance(model, keras.Model), f"model takes a Keras 3 model; got {kind}")
    functional(model)  # Refuses one that has no graph yet, or never will.


def check_transforms(technique: techniques.Technique, function: str = "transform") -> None:
    """Refuses a technique whose transform alone leaves the network as it was."""
    name = technique.name
    if technique.acts_in == "training":
        raise InputError(
            f"{name} acts while the network is trained, and {function} would change nothing: use "
            f"tfcompress.compress(model, '{name}', data)"
        )
    if technique.acts_in == "export":
        raise InputError(
            f"{name} acts as the file is written, and {function} would change nothing: use "
            f"tfcompress.export(model, path, storage='{technique.storage}')"
        )


def chosen_steps(
    technique: str, options: dict[str, Any], settings: dict[str, Any]
) -> tuple[techniques.Step, ...]:
    """Returns the steps of a chain with the options and training settings that the user gives.

    Raises:
        InputError: an unknown technique, an option that none of them has, or a wrong value.
    """
    chain = techniques.chain(technique)
    _, taken = techniques.distribute(chain, options)
    for key in options:
        if key not in taken:
            known = {field.name for one in chain for field in dataclasses.fields(one.options)}
            raise unknown_name(f"option of {technique}", key, known)
    return techniques.make_steps(chain, options, settings)
