"""Keras to `.tflite`: storages, audit, comparison with Keras.

The package itself can be called: `tfcompress.export(model, "m.tflite", storage="int8")`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfcompress.errors import ExportError

if TYPE_CHECKING:
    from tfcompress.export.exported import Exported
    from tfcompress.export.mixed import Validation
    from tfcompress.export.write import export

__all__ = ["ExportError", "Exported", "Validation", "export"]

# Imported when they are first used: storages are listed without Keras.
_MODULES = {"Exported": "exported", "Validation": "mixed", "export": "write"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value  # Tools that read the module's dictionary find it from now on.
        return value
    if name == "STORAGES":
        from tfcompress.export import storages

        warnings.warn(
            "tfcompress.export.STORAGES is tfcompress.export.storages.by_name() now; the old name "
            "goes with the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        return storages.by_name()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Room(ModuleType):
    """Lets the package be called: importing it binds its name to the module, not the function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Exported:
        return self.export(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
