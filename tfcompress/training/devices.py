"""Trains one network on several devices of a machine, each of which takes a part of every batch.

All devices have the same weights. The gradients of the parts are added up, so that a step is that
of one device with the whole batch, to the rounding of the sums.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.config import Training
from tfcompress.data.pipelines import Stream
from tfcompress.data.protocol import Data
from tfcompress.errors import InputError, require


@dataclasses.dataclass(frozen=True, eq=False)
class Devices:
    """Holds the devices that a training runs on; `chosen` gives them.

    Attributes:
        count: how many they are.
        strategy: TensorFlow's `MirroredStrategy`, or Keras's `DataParallel` on JAX; None of one
            device.
    """

    count: int = 1
    strategy: Any = None

    def making(self) -> AbstractContextManager[Any]:
        """Returns a context in which variables are made on all devices."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def fitting(self) -> AbstractContextManager[Any]:
        """Returns a context in which Keras's `fit` splits batches over the devices."""
        # On TensorFlow a model knows its strategy.
        return self.making() if _on_jax() else contextlib.nullcontext()

    @contextlib.contextmanager
    def holding(self, variables: Iterable[keras.Variable]) -> Iterator[None]:
        """Keeps variables on all devices within the block, and on their own one afterwards.

        Layers, optimizers and constraints that hold them needn't know of it. Each is the same
        tensor again afterwards as before, for functions that were traced with it.

        Args:
            variables: of one device, the same one twice counts once.
        """
        if self.strategy is None:
            yield
            return
        kept = [
            (variable, variable._value, getattr(variable, "_layout", None))
            for variable in {id(variable): variable for variable in variables}.values()
        ]
        with self.making():
            for variable, _, _ in kept:
                _spread(variable)
        try:
            yield
        finally:
            for variable, value, layout in kept:
                # Of a JAX training that was broken off within an epoch nothing is left.
                trained = None if variable._value is None else _numpy(variable)
                variable._value, variable._layout = value, layout
                if trained is not None:
                    variable.assign(trained)

    def check(self, training: Training, data: Data) -> None:
        """Refuses a training whose batches have no equal parts; those of streams are filled up.

        Args:
            training: the recipe.
            data: what is trained on.

        Raises:
            InputError: names the sizes beside the recipe's that have.
        """
        size = training.batch_size
        low = size - size % self.count
        sizes = [str(each) for each in (low, low + self.count) if each]
        require(
            low == size or not training.epochs or isinstance(data, Stream),
            f"batches of {size} can't be split evenly over {self.count} devices: take a "
            f"batch_size of {' or '.join(sizes)}",
        )

    def filled(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns a batch whose examples can be split evenly; some of a short one come twice.

        Args:
            batch: as `fit` takes it.
        """
        count = len(tree.flatten(batch)[0])
        if count % self.count == 0:
            return batch
        places = np.arange(-(-count // self.count) * self.count) % count
        return tuple(
            None if part is None else tree.map_structure(lambda x: np.asarray(x)[places], part)
            for part in batch
        )


ONE = Devices()


@contextlib.contextmanager
def on_one() -> Iterator[None]:
    """Lets what runs within the block, such as a judgement between epochs, run on one device."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def chosen(wanted: int | str) -> Devices:
    """Returns so many devices of this machine: its GPUs, or where it has none its processors.

    Args:
        wanted: a number, or `all`.

    Raises:
        InputError: there aren't so many, or this backend or a cluster of several machines can't be
            trained on in this way.
    """
    if wanted == 1:
        return ONE
    backend = keras.backend.backend()
    require(
        backend in ("tensorflow", "jax"),
        f"devices={wanted}: Keras trains on several devices on TensorFlow and JAX; this is "
        f"{backend}",
    )
    require(
        "TF_CONFIG" not in os.environ or _on_jax(),
        f"devices={wanted}: TF_CONFIG names several machines, on which Keras 3's fit fails with "
        "TensorFlow (keras issue 20585): unset it to train on this machine's devices, or take "
        "KERAS_BACKEND=jax",
    )
    names = _names()
    count = len(names) if wanted == "all" else int(wanted)
    if count > len(names):
        some = f"are {len(names)}" if len(names) > 1 else "is 1"
        raise InputError(f"devices={wanted}: there {some} here ({', '.join(names)})")
    return ONE if count == 1 else _devices(names[:count])


@functools.cache
def _devices(names: tuple[str, ...]) -> Devices:
    """Returns several devices; their channels are opened once a process."""
    if _on_jax():
        return Devices(len(names), keras.distribution.DataParallel(devices=list(names)))
    import tensorflow as tf

    return Devices(len(names), tf.distribute.MirroredStrategy(list(names)))


def _names() -> tuple[str, ...]:
    """Returns the names of the devices that there are, as the backend takes them."""
    if _on_jax():
        return tuple(keras.distribution.list_devices())
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tuple(device.name for device in found)


def _spread(variable: keras.Variable) -> None:
    """Gives a variable a value on all devices, within the strategy's scope."""
    value = _numpy(variable)
    if _on_jax():
        variable._initialize(keras.ops.convert_to_tensor(value))
        return
    import tensorflow as tf

    # What a layer changes as it computes, such as a batch normalisation's averages, becomes the
    # devices' mean. Keras would go on with the first device's.
    averaged = not variable.trainable and value.dtype.kind == "f"
    variable._value = tf.Variable(
        value,
        dtype=variable._dtype,
        trainable=variable.trainable,
        name=variable.name,
        aggregation=tf.VariableAggregation.MEAN if averaged else tf.VariableAggregation.NONE,
    )


def _numpy(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _on_jax() -> bool:
    return bool(keras.backend.backend() == "jax")
