"""Old names of public functions and classes, each for one more version."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns a module's `__getattr__` that finds names where they are now.

    Args:
        module: the full name of the module that had them.
        names: old name to the new one with its module, such as `tfcompress.errors.InputError`.

    Example:
        >>> __getattr__ = moved("tfcompress.config", {"InputError": "tfcompress.errors.InputError"})
        >>> __getattr__("InputError").__module__
        'tfcompress.errors'
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = names[name].rpartition(".")
        warnings.warn(
            f"{module}.{name} is {names[name]} now; the old name goes with the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(place), new)

    return find
