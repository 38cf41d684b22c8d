"""The mean of a network's weights over the last epochs of its training."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np


class LastWeights(keras.callbacks.Callback):
    """Keeps the weights after each of the last epochs; the training isn't changed.

    Of several trainings one after another, as a chain of techniques has them, the last epochs of
    all.

    Args:
        epochs: how many.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._weights: collections.deque[list[np.ndarray]] = collections.deque(maxlen=epochs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the epoch's weights."""
        trained = getattr(self.model, "student", self.model)
        self._weights.append([np.array(each) for each in trained.trainable_variables])

    def put_mean(self, model: keras.Model, epochs: int, batches: Iterable[Any]) -> None:
        """Puts the mean of the last epochs' weights into a model, and its statistics anew.

        Batch normalisations hold means and variances of what the last weights gave; those of the
        averaged weights are taken over the images (Izmailov et al. 2018, arXiv:1803.05407, section
        3.2).

        Args:
            model: that was trained.
            epochs: how many of those that are kept.
            batches: the images to take the statistics of.
        """
        last = list(self._weights)[-epochs:]
        for variable, *values in zip(model.trainable_variables, *last, strict=True):
            variable.assign(np.mean(values, 0, dtype="float64"))
        set_statistics(model, batches)


def set_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Gives batch normalisations the mean statistics of batches, as training computes them."""
    norms = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in norms]
    for number, batch in enumerate(batches):
        for layer in norms:
            layer.momentum = number / (number + 1)
        model(batch, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
