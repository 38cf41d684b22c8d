"""Compares what a model takes with what data give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.errors import InputError, require
from tfcompress.graph.nodes import functional


def input_caster(model: keras.Model) -> Callable[[Any], Any]:
    """Returns what brings a batch's inputs to the types that a model takes, as Keras does.

    A last axis of 1 that inputs lack, as of grey images, is added.
    """
    inputs = functional(model).inputs
    by_name = {tensor.name: tensor for tensor in inputs}

    def cast(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: _as_taken(part, by_name.get(key)) for key, part in x.items()}
        parts = tree.flatten(x)
        if len(parts) != len(inputs):
            return x  # Refused as it is compared.
        return tree.pack_sequence_as(x, list(map(_as_taken, parts, inputs)))

    return cast


def input_list(model: keras.Model, x: Any) -> list[np.ndarray]:
    """Returns a batch's inputs in the order of `model.inputs`.

    Args:
        model: functional or Sequential.
        x: in any form that the model takes, as `check_inputs` found.
    """
    if isinstance(x, dict):
        keys = [tensor.name for tensor in functional(model).inputs]
        if set(keys) <= set(x):
            return [x[key] for key in keys]
    return list(tree.flatten(x))


def _as_taken(array: np.ndarray, tensor: Any) -> np.ndarray:
    """Returns one input in the type of the model's; text stays text."""
    if tensor is None:
        return array
    if tensor.shape[-1] == 1 and array.ndim == len(tensor.shape) - 1:
        array = array[..., None]
    if tensor.dtype == "string" or array.dtype.kind in "USO":
        return array
    return array.astype(tensor.dtype, copy=False)


def check_inputs(model: keras.Model, x: Any, name: str) -> None:
    """Refuses inputs of another number, name or shape than a model's.

    Args:
        model: functional or Sequential.
        x: some examples.
        name: what the error calls the data.

    Raises:
        InputError: says what was found and what is needed.
    """
    inputs = functional(model).inputs
    if isinstance(x, dict):
        wanted = [tensor.name for tensor in inputs]
        require(
            set(wanted) <= set(x),
            f"model '{model.name}' takes the inputs {', '.join(sorted(wanted))}, but {name} gives "
            f"{', '.join(sorted(map(str, x)))}",
        )
        parts = [x[tensor.name] for tensor in inputs]
    else:
        parts = tree.flatten(x)
    require(
        len(parts) == len(inputs),
        f"model '{model.name}' has {len(inputs)} inputs, but {name} gives {len(parts)}",
    )
    for tensor, part in zip(inputs, parts, strict=True):
        taken, given = tuple(tensor.shape[1:]), tuple(part.shape[1:])
        if len(taken) == len(given) and all(
            a in (None, b) for a, b in zip(taken, given, strict=True)
        ):
            continue
        raise InputError(
            f"model '{model.name}' takes inputs of shape {taken}"
            + (f" as '{tensor.name}'" if len(inputs) > 1 else "")
            + f", but those of {name} are {given}{_hint(taken, given)}"
        )


def shapes_alike(first: tuple[int | None, ...], second: tuple[int | None, ...]) -> bool:
    """Says whether two shapes are equal where both are known."""
    return len(first) == len(second) and all(
        None in (mine, other) or mine == other for mine, other in zip(first, second, strict=True)
    )


def _hint(taken: tuple[int | None, ...], given: tuple[int, ...]) -> str:
    """Returns what to do about a difference that many meet."""
    images = len(taken) == len(given) == 3 and taken[:2] == given[:2]
    grey = images and (taken[2], given[2]) == (3, 1)
    return ": repeat grey images with np.repeat(x, 3, -1)" if grey else ""
