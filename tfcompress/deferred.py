"""Keras, loaded when something of it is first used.

Files of techniques and builders take `keras` from here. To list them, or to say that a name is
unknown, their summaries and options are read, which shouldn't take the seconds in which Keras and
TensorFlow load.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any


class _DeferredModule(types.ModuleType):
    """Stands for a module that is imported when a name of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


if TYPE_CHECKING:
    import keras
else:
    keras = _DeferredModule("keras")

__all__ = ["keras"]
