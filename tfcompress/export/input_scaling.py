"""Reads what a model's first layers do to its inputs, and whether images fit them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfcompress.graph.nodes import functional, is_nested, nodes
from tfcompress.runtime.rows import Rows

# Layers that change the scale of a model's input, and those that leave it as it is where nothing
# is trained.
_SCALING = (keras.layers.Rescaling, keras.layers.Normalization)
_UNCHANGED = ("Activation", "Dropout", "FakeQuantize", "GaussianNoise", "Identity")
# Images that are looked at.
_IMAGES = 32
# What scaled inputs spread over, as a standard deviation: bytes of 0..255 give 0.002 where 0..1 is
# divided by 255, and 290 where they are normalised by the mean and deviation of 0..1.
_LEAST, _MOST = 0.02, 20.0
# What the values 0 and 255 may be apart once a model that takes pixels has scaled them.
_PIXEL_SPAN = (0.5, 20.0)


def scaling_layers(model: keras.Model, number: int = 0) -> list[Any]:
    """Returns the layers that scale a model's input before anything else sees it.

    Args:
        model: functional or Sequential.
        number: which of its inputs.
    """
    model = functional(model)
    return list(_scaling(model, model.inputs[number]))


def _scaling(model: keras.Model, tensor: Any) -> Iterator[Any]:
    while True:
        readers = [node for node in nodes(model) if any(x is tensor for x in node.input_tensors)]
        if len(readers) != 1:
            return
        operation = readers[0].operation
        if is_nested(operation):
            place = [x is tensor for x in readers[0].input_tensors].index(True)
            yield from scaling_layers(operation, place)
            return
        if isinstance(operation, _SCALING):
            yield operation
        elif not _leaves_unchanged(operation):
            return
        tensor = readers[0].outputs[0]


def _leaves_unchanged(operation: Any) -> bool:
    name = type(operation).__name__
    if name == "Activation":
        return operation.activation is keras.activations.linear
    return name in _UNCHANGED or name.startswith("Random")


def mismatch(model: keras.Model, rows: np.ndarray | Rows) -> str | None:
    """Returns why images don't have the range that a model's own scaling is for; None if they do.

    Args:
        model: functional or Sequential.
        rows: as the model is given them.
    """
    for number, array in enumerate(Rows.of(rows).arrays):
        wrong = _mismatch(scaling_layers(model, number), array)
        if wrong is not None:
            return wrong
    return None


def _mismatch(scaling: list[Any], images: np.ndarray) -> str | None:
    values = np.asarray(images[:_IMAGES], "float32")
    given = _range(values)
    for layer in scaling:
        varied = _spread(values) > 0
        values = np.asarray(keras.ops.cast(layer(values), "float32"))
        kind = type(layer).__name__
        spread = _spread(values)
        normalises = kind == "Normalization" or _takes_bytes_or_units(layer)
        if varied and (spread < _LEAST or (normalises and spread > _MOST)):
            return (
                f"the images lie in {given}, and layer '{layer.name}' ({kind}) makes "
                f"{_range(values)} of that: they don't have the range that the model takes, so "
                "that the file may be wrong for real images, and the comparison says nothing "
                "about them; give the images as the model was trained on them, not "
                f"{'normalised before' if spread < _LEAST else 'as raw pixels'}"
            )
    return None


def _takes_bytes_or_units(layer: Any) -> bool:
    """Returns whether a Rescaling brings 0..1 or 0..255 to a range of a few ones."""
    scale, offset = np.asarray(layer.scale, "float64"), np.asarray(layer.offset, "float64")
    return bool((scale != 1).any() and (np.abs(offset) <= 4).all())


def _spread(values: np.ndarray) -> float:
    """Returns the standard deviation of the channel, or feature, that is in the middle."""
    return float(np.median(values.std(axis=tuple(range(values.ndim - 1)))))


def _range(values: np.ndarray) -> str:
    return f"{values.min():.3g}..{values.max():.3g}"


def takes_pixels(model: keras.Model) -> bool:
    """Returns whether a model scales pixels of 0..255 itself, so that images need nothing else."""
    shapes = [tuple(x.shape[1:]) for x in functional(model).inputs]
    pictures = [i for i, x in enumerate(shapes) if len(x) == 3 and x[-1] in (1, 3)]
    layers = scaling_layers(model, pictures[0]) if len(pictures) == 1 else []
    if not layers:
        return False
    shape = shapes[pictures[0]]
    ends = np.stack([np.full((1, 1, shape[-1]), value, "float32") for value in (0, 255)])
    try:
        scaled = np.asarray(keras.ops.cast(layers[0](ends), "float32"))
    except Exception:  # Statistics of every place of an image: not a pixel's.
        return False
    low, high = scaled.reshape(2, -1)
    span = high - low
    return bool((span >= _PIXEL_SPAN[0]).all() and (span <= _PIXEL_SPAN[1]).all())
