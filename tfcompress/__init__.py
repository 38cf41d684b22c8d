"""Makes Keras models small and fast for real, and proves it on the `.tflite` file.

The door, for Keras users; each name is imported when it is first used:

    transform   surgery only: a Keras model in, a Keras model out
    compress    surgery and training
    export      a Keras model as an audited .tflite file
    benchmark   size, latency and memory of .tflite files
    summary     a table of a model's layers: parameters, MACs, bits
    models      the papers' networks; layers: Keras layers; data: data sets
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfcompress.door import compress, transform
    from tfcompress.graph import summary

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "benchmark",
    "compress",
    "data",
    "export",
    "layers",
    "models",
    "summary",
    "techniques",
    "transform",
]

_FUNCTIONS = {"compress": "door", "transform": "door", "summary": "graph"}
_ROOMS = ("benchmark", "data", "export", "layers", "models", "techniques")


def __getattr__(name: str) -> Any:
    # Lazy, so that `tfcompress.runtime` and `tfcompress.benchmark` start without Keras.
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"tfcompress.{_FUNCTIONS[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"tfcompress.{name}")
    raise AttributeError(f"module 'tfcompress' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
