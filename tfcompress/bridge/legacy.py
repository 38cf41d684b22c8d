"""Imports `tf_keras` and TensorFlow Model Optimization when they are first needed.

Importing the latter sets `TF_USE_LEGACY_KERAS` for the whole process and, if nobody has touched
`tf.keras` before, turns that into Keras 2 as well; here neither gets out.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from types import ModuleType


def tf_keras() -> ModuleType:
    """Returns the module `tf_keras`, which is Keras 2."""
    with _contained():
        return importlib.import_module("tf_keras")


def tfmot(part: str = "") -> ModuleType:
    """Returns the module `tensorflow_model_optimization`, which takes `tf_keras` models only.

    Args:
        part: a module inside of it, such as `python.core.clustering.keras.cluster_wrapper`, in
            its place.
    """
    name = "tensorflow_model_optimization"
    with _contained():
        return importlib.import_module(f"{name}.{part}" if part else name)


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Settles what `tf.keras` is before the block, and puts the environment back behind it."""
    before = dict(os.environ)
    # tf.keras chooses its Keras at the first touch, by a variable that the import will change.
    _ = importlib.import_module("tensorflow").keras.__version__
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
