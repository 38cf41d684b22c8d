"""Takes a Keras model's outputs and accuracy on a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.data.protocol import Data
from tfcompress.graph.nodes import input_structure, output_structure
from tfcompress.training.objective import class_numbers


def jit_compile() -> bool | str:
    """Returns what to compile with: XLA on JAX; on TensorFlow it doubles a CPU's step time."""
    return False if keras.backend.backend() == "tensorflow" else "auto"


def runner(model: keras.Model) -> keras.Model:
    """Compiles the same layers in a model of our own, so that the user's stays as it is.

    Tracing it takes a while: to evaluate often, make it once.
    """
    compiled = keras.Model(input_structure(model), output_structure(model))
    compiled.compile(jit_compile=jit_compile())
    return compiled


def _predict(compiled: keras.Model, images: Any) -> np.ndarray:
    outputs = np.asarray(keras.tree.flatten(compiled.predict_on_batch(images))[0], "float32")
    return outputs.reshape(len(outputs), -1)


def predictor(model: keras.Model) -> Callable[[Any], list[np.ndarray]]:
    """Returns what gives a model's outputs for a batch's inputs, float32 and in their order."""
    compiled = runner(model)
    return lambda x: [
        np.asarray(y, "float32") for y in keras.tree.flatten(compiled.predict_on_batch(x))
    ]


def logits(model: keras.Model, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Returns the model's outputs for normalised images, as float32 (images, classes).

    Args:
        model: functional or Sequential, with one output.
        images: float32 (images, height, width, channels), normalised.
        batch_size: images at a time.
    """
    compiled = runner(model)
    parts = [
        _predict(compiled, images[i : i + batch_size]) for i in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)


def accuracy(compiled: keras.Model, data: Data, batch_size: int = 256) -> float:
    """Returns the share of the held-out examples that the model classifies rightly, 0 to 1.

    Args:
        compiled: as `runner` gives it.
        data: whose targets are one class an example.
        batch_size: examples at a time; a stream has its own.
    """
    chosen, labels = classified(compiled, data, batch_size)
    return float((chosen == labels).mean())


def classified(
    compiled: keras.Model, data: Data, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the class that the model gives each held-out example, and the examples' labels.

    Args:
        compiled: as `runner` gives it.
        data: whose targets are one class an example.
        batch_size: examples at a time; a stream has its own.

    Returns:
        Two arrays of integers (examples,), in the data's order.
    """
    pairs = [
        (_predict(compiled, batch.x).argmax(-1), class_numbers(batch.y))
        for batch in data.test_batches(batch_size)
    ]
    chosen, labels = zip(*pairs, strict=True)
    return np.concatenate(chosen), np.concatenate(labels)
