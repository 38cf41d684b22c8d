"""Ways to write weights, one a file; each file ends in one `STORAGE` value.

Importing one imports neither Keras nor TensorFlow: what builds its files is imported with the first
file, so that `--list` and wrong flags are answered at once.
"""

from __future__ import annotations

import importlib
import pkgutil

from tfcompress.errors import unknown_name
from tfcompress.export.storage import Storage


def by_name() -> dict[str, Storage]:
    """Returns all storages by their names, in the names' order."""
    modules = sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )
    values = [importlib.import_module(f"{__name__}.{module}").STORAGE for module in modules]
    return {storage.name: storage for storage in sorted(values, key=lambda value: value.name)}


def names() -> list[str]:
    """Returns the storages' names."""
    return list(by_name())


def get(name: str) -> Storage:
    """Returns a storage by its name.

    Raises:
        InputError: no storage has that name.
    """
    known = by_name()
    if name not in known:
        raise unknown_name("storage", name, known)
    return known[name]
