"""Ends a training with the mean of its weights over the last epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np


class Averaged(keras.callbacks.Callback):
    """Puts the mean of the last epochs' weights into the model, and its statistics anew.

    Batch normalisations hold means and variances of what the last weights gave; those of the
    averaged weights are taken over the images (Izmailov et al. 2018, arXiv:1803.05407, section
    3.2).

    Args:
        first: epoch, from 1, whose weights are the first in the mean.
        batches: returns the images to take the statistics of, batch by batch.
    """

    def __init__(self, first: int, batches: Callable[[], Iterable[Any]]) -> None:
        super().__init__()
        self._first, self._batches = first, batches
        self._seen = 0
        self._weights: list[list[np.ndarray]] = []

    def _trained(self) -> keras.Model:
        return getattr(self.model, "student", self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the epoch's weights if they are in the mean."""
        self._seen += 1
        if self._seen >= self._first:
            self._weights.append([np.array(x) for x in self._trained().trainable_variables])

    def on_train_end(self, logs: Any = None) -> None:
        """Ends with the mean, if the training got as far."""
        if not self._weights:
            return
        model = self._trained()
        for variable, *values in zip(model.trainable_variables, *self._weights, strict=True):
            variable.assign(np.mean(values, 0, dtype="float64"))
        set_statistics(model, self._batches())


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
