"""Takes a Keras model's outputs and accuracy on a data set."""

from __future__ import annotations

import keras
import numpy as np

from tfcompress.data.dataset import Dataset
from tfcompress.graph.rewrite import functional


def jit_compile() -> bool | str:
    """Returns what to compile with: XLA on JAX; on TensorFlow it doubles a CPU's step time."""
    return False if keras.backend.backend() == "tensorflow" else "auto"


def runner(model: keras.Model) -> keras.Model:
    """Compiles the same layers in a model of our own, so that the user's stays as it is.

    Tracing it takes a while: to evaluate often, make it once.
    """
    model = functional(model)
    compiled = keras.Model(model.inputs, model.outputs)
    compiled.compile(jit_compile=jit_compile())
    return compiled


def _predict(compiled: keras.Model, images: np.ndarray) -> np.ndarray:
    outputs = keras.tree.flatten(compiled.predict_on_batch(images))[0]
    return np.asarray(outputs, "float32").reshape(len(images), -1)


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


def accuracy(compiled: keras.Model, data: Dataset, batch_size: int = 256) -> float:
    """Returns the share of the test images that the model classifies rightly, 0 to 1.

    Args:
        compiled: as `runner` gives it.
        data: the data set.
        batch_size: images at a time.
    """
    chosen, labels = classified(compiled, data, batch_size)
    return float((chosen == labels).mean())


def classified(
    compiled: keras.Model, data: Dataset, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the class that the model gives each test image, and the images' labels.

    Args:
        compiled: as `runner` gives it.
        data: the data set.
        batch_size: images at a time.

    Returns:
        Two arrays of integers (images,), in the data set's order.
    """
    pairs = [
        (_predict(compiled, images).argmax(-1), labels)
        for images, labels in data.batches("test", batch_size)
    ]
    chosen, labels = zip(*pairs, strict=True)
    return np.concatenate(chosen), np.concatenate(labels)
