"""Makes Keras models small and fast for real, and proves it on the `.tflite` file.

The functions for Keras users; each name is imported when it is first used:

    transform   surgery only: a Keras model in, a Keras model out
    compress    surgery and training
    prepare     surgery, ready for a training of one's own; callbacks: what its fit needs;
                finish: the plain model that comes of it
    export      a Keras model as an audited .tflite file
    export_keras  a Keras model as a .keras file of built-in layers, which opens without tfcompress
    load        an exported file as a classifier of images, without Keras or TensorFlow
    benchmark   size, latency and memory of .tflite files
    search      the compressions of a model that keep a budget of bytes, time and accuracy
    summary     a table of a model's layers: parameters, MACs, bits
    keep_freed_memory  on Linux, saves the time that a training loses to page faults
    InputError  what was handed in can't be used; ExportError: a file isn't what it should be
    models      the papers' networks; layers: Keras layers; data: data sets

With this import alone, `keras.saving.load_model` finds our layers by their names in a file, whether
Keras is imported before it or after it; Keras isn't imported by it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfcompress.deferred import after_import
from tfcompress.version import VERSION

# Of packages that can be called, such as `export`, who checks types sees the functions.
if TYPE_CHECKING:
    from tfcompress import data, layers, models, techniques
    from tfcompress.allocator import keep_freed_memory
    from tfcompress.api import callbacks, compress, finish, prepare, transform
    from tfcompress.benchmark.measure import measure as benchmark
    from tfcompress.errors import ExportError, InputError
    from tfcompress.export import export, export_keras
    from tfcompress.graph import summary
    from tfcompress.runtime import Metadata, load
    from tfcompress.search import search

__version__ = VERSION

__all__ = [
    "ExportError",
    "InputError",
    "Metadata",
    "__version__",
    "benchmark",
    "callbacks",
    "compress",
    "data",
    "export",
    "export_keras",
    "finish",
    "keep_freed_memory",
    "layers",
    "load",
    "models",
    "prepare",
    "search",
    "summary",
    "techniques",
    "transform",
]

_FUNCTIONS = {
    "ExportError": "errors",
    "InputError": "errors",
    "Metadata": "runtime",
    "callbacks": "api",
    "compress": "api",
    "export_keras": "export",
    "finish": "api",
    "keep_freed_memory": "allocator",
    "load": "runtime",
    "prepare": "api",
    "summary": "graph",
    "transform": "api",
}
_ROOMS = ("benchmark", "data", "export", "layers", "models", "search", "techniques")


# Who checks types knows the names from above, and marks any other.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Lazy, so that `tfcompress.runtime` and `tfcompress.benchmark` start without Keras.
        if name in _FUNCTIONS:
            return getattr(importlib.import_module(f"tfcompress.{_FUNCTIONS[name]}"), name)
        if name in _ROOMS:
            return importlib.import_module(f"tfcompress.{name}")
        raise AttributeError(f"module 'tfcompress' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__


def _register_layers() -> None:
    """Imports our layers, which registers their names with Keras.

    It runs inside the import of Keras, which has to go on where they can't be imported, as with a
    Keras that is too old for them.
    """
    try:
        importlib.import_module("tfcompress.layers")
    except Exception as error:
        import warnings

        warnings.warn(
            f"Keras can't load models with layers of tfcompress here: {error}", stacklevel=2
        )


after_import("keras", _register_layers)
