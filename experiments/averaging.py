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
        self._sums: list[np.ndarray] = []

    def _trained(self) -> keras.Model:
        return getattr(self.model, "student", self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the epoch's weights to the mean."""
        self._seen += 1
        if self._seen < self._first:
            return
        values = [np.asarray(each, "float64") for each in self._trained().trainable_variables]
        self._sums = [a + b for a, b in zip(self._sums or [0.0] * len(values), values, strict=True)]

    def on_train_end(self, logs: Any = None) -> None:
        """Ends with the mean."""
        model, count = self._trained(), self._seen - self._first + 1
        if count < 1:
            return
        for variable, total in zip(model.trainable_variables, self._sums, strict=True):
            variable.assign(total / count)
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
