"""Keras, loaded when something of it is first used, and what is to be done once it is loaded.

Files of techniques and builders take `keras` from here. To list them, or to say that a name is
unknown, their summaries and options are read, which shouldn't take the seconds in which Keras and
TensorFlow load.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec


class _DeferredModule(types.ModuleType):
    """Stands for a module that is imported when a name of it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


class _AfterImport:
    """Finds a module as the finders behind it do, and calls a function once it is imported."""

    def __init__(self, name: str, function: Callable[[], object]) -> None:
        self._name = name
        self._function = function

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Returns the other finders' description of the module, which runs the function, too.

        Only the import itself runs it: `importlib.util.find_spec`, by which programs ask whether
        the module is there, doesn't.
        """
        if name != self._name:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                self._follow(spec.loader)
                return spec
        return None

    def _follow(self, loader: Any) -> None:
        """Has a loader call the function behind the module's own code.

        The loader stays the one that it is, for those who ask it for sources and other files.
        """
        if isinstance(loader, type) or not hasattr(loader, "exec_module"):
            return  # None, or one of Python's own that all built-in modules share.
        execute = loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            if module.__name__ == self._name and self in sys.meta_path:
                sys.meta_path.remove(self)
                self._function()

        loader.exec_module = exec_module


def after_import(name: str, function: Callable[[], object]) -> None:
    """Calls a function once a module is imported: now, if it is already, or right behind its code.

    Args:
        name: the module, or a package, without dots.
        function: without arguments. It may import the module. Its errors are the import's.
    """
    if sys.modules.get(name) is not None:
        function()
    else:
        sys.meta_path.insert(0, _AfterImport(name, function))


if TYPE_CHECKING:
    import keras
else:
    keras = _DeferredModule("keras")

__all__ = ["after_import", "keras"]
