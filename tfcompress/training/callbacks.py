"""Calls the user's callbacks as one `fit` of all epochs would, though each epoch is one of its own.

A callback such as `ReduceLROnPlateau` begins anew whenever a training begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from tfcompress.training.context import Row


class EpochCallbacks(keras.callbacks.Callback):
    """Judges the model at the end of each epoch, and hands everything on to callbacks.

    Args:
        callbacks: the user's, of Keras 3.
        judge: returns Keras's logs of the held-out examples under `logs`, with `val_` before
            their names, and a history row's values under `row`.
        model: what is trained.
        epochs: of the whole training.
        steps: of an epoch.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        judge: Callable[[], Mapping[str, Row]],
        model: keras.Model,
        epochs: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.test_values: Row = {}
        self._judge = judge
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks), model=model, epochs=epochs, steps=steps, verbose=0
        )

    @contextlib.contextmanager
    def around_all_epochs(self) -> Iterator[None]:
        """Begins the training for the user's callbacks, and ends it."""
        self._callbacks.on_train_begin()
        yield
        self._callbacks.on_train_end()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Hands the call on."""
        self._callbacks.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Hands the call on."""
        self._callbacks.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Hands the call on."""
        self._callbacks.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Judges the model, and hands the call on with what came of it."""
        found = self._judge()
        self.test_values = dict(found["row"])
        self._callbacks.on_epoch_end(epoch, {**(logs or {}), **found["logs"]})
