"""Finds signs that rounding flips: there a file may rightly differ from Keras.

A sign isn't continuous. Where the value before it is 0 but for the last bits, Keras and the file,
which add in another order, may fall on different sides, and all that follows differs visibly. An
input of 2 bits is three signs: of the value less each of the thresholds where a level begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.graph import clone
from tfcompress.graph.rewrite import functional, nodes
from tfcompress.runtime import LiteModel
from tfcompress.runtime.rows import Rows
from tfcompress.tflite.content import read

# How near to 0 a value before a sign may lie, as a share of the largest in its layer, so that
# rounding in another order may turn it.
NEAR_ZERO = 1e-5
_AT_ONCE = 64


def explained(model: keras.Model, path: Path, images: np.ndarray | Rows) -> np.ndarray:
    """Returns for which images the file may give other outputs, because rounding flipped a sign.

    The file's own signs are read and compared with Keras's values before them. An image is
    explained if some sign differs, and if in the first layer where one does, all that differ
    belong to values within `NEAR_ZERO` of 0.

    Args:
        model: the Keras model, with our binary layers.
        path: the `.tflite`.
        images: as the model takes them, normalised.

    Returns:
        bool (images,).
    """
    flat = clone(model)  # The layers of nested models, too.
    before = _before_signs(flat)
    names = [op.outputs[0].name for op in read(path).ops if op.name == "GREATER_EQUAL"]
    if not before or len(names) != sum(len(thresholds) for _, thresholds in before):
        return np.zeros(len(images), bool)
    values = _compared(flat, before, images)
    signs = LiteModel(path, keep_all=True).tensors(images, names)
    signs = [sign.reshape(len(images), -1) for sign in signs]
    right = np.zeros(len(images), bool)
    open_still = np.ones(len(images), bool)
    for value in values:
        sign = _taken(signs, value)
        if sign is None:
            return np.zeros(len(images), bool)
        differs = sign != (value >= 0)
        near = np.abs(value) <= NEAR_ZERO * np.abs(value).max()
        first = open_still & differs.any(axis=1)
        right |= first & ~(differs & ~near).any(axis=1)
        open_still &= ~first
    return right


def near_zero(model: keras.Model, images: np.ndarray | Rows) -> float:
    """Returns the share of the values before signs that lie within `NEAR_ZERO` of 0.

    In a trained network it is about 1e-5. In an untrained one, whose biases are 0, each sum of as
    many signs of either kind is 0 but for rounding: one sum in ten or twenty.

    Args:
        model: the Keras model, with our binary layers.
        images: as the model takes them, normalised.
    """
    flat = clone(model)
    before = _before_signs(flat)
    if not before:
        return 0.0
    values = _compared(flat, before, images)
    near = sum(int((np.abs(value) <= NEAR_ZERO * np.abs(value).max()).sum()) for value in values)
    return near / sum(value.size for value in values)


def has_signs(model: keras.Model) -> bool:
    """Returns whether a layer takes the signs of its inputs, or levels."""
    return bool(_before_signs(clone(model)))


def _before_signs(flat: keras.Model) -> list[tuple[Any, tuple[float, ...]]]:
    """Returns the inputs of the layers that take their signs, with what they are compared to."""
    return [
        (tensor, node.operation.input_thresholds())
        for node in nodes(flat)
        if getattr(node.operation, "binarize_inputs", False)
        for tensor in node.input_tensors
    ]


def _compared(
    flat: keras.Model, before: list[tuple[Any, tuple[float, ...]]], images: np.ndarray | Rows
) -> list[np.ndarray]:
    """Returns the values before signs, less each number that they are compared to."""
    values = outputs(flat, [tensor for tensor, _ in before], images)
    return [
        value - np.float32(threshold)
        for value, (_, thresholds) in zip(values, before, strict=True)
        for threshold in thresholds
    ]


def _taken(signs: list[np.ndarray], value: np.ndarray) -> np.ndarray | None:
    """Takes from the list the file's signs that belong to these values: the most similar.

    The converter may order branches otherwise than Keras, and names don't survive it.
    """
    alike = [
        (float((sign == (value >= 0)).mean()), index)
        for index, sign in enumerate(signs)
        if sign.shape == value.shape
    ]
    return signs.pop(max(alike)[1]) if alike else None


def outputs(model: keras.Model, tensors: list[Any], images: np.ndarray | Rows) -> list[np.ndarray]:
    """Returns the values of a model's tensors for images, each of shape (images, values)."""
    compiled = keras.Model(functional(model).inputs, tensors)
    compiled.compile(jit_compile=False)
    rows = Rows.of(images)
    parts = [
        [np.asarray(value).reshape(len(value), -1) for value in keras.tree.flatten(values)]
        for values in (
            compiled.predict_on_batch(list(rows[i : i + _AT_ONCE].arrays))
            for i in range(0, len(rows), _AT_ONCE)
        )
    ]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]
