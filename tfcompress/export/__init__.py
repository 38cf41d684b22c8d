"""Keras to `.tflite`: storage formats, audit, parity check.

The room is also the door: `tfcompress.export(model, "m.tflite", storage="int8")`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from tfcompress.errors import ExportError
from tfcompress.export.mixed import Validation
from tfcompress.export.storage import STORAGES
from tfcompress.export.write import Exported, export

__all__ = ["STORAGES", "ExportError", "Exported", "Validation", "export"]


class _Room(ModuleType):
    """Lets the package be called: importing it binds its name to the module, not the function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Exported:
        return export(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
