"""Measures `.tflite` files: size, multiply-accumulates, latency and peak memory, per backend.

The package can be called: `tfcompress.benchmark("m.tflite")` measures, and
`tfcompress.benchmark.latency` is still a module. `measure` says what the arguments mean.
"""

import inspect
import sys
import types

from tfcompress.benchmark.machine import machine
from tfcompress.benchmark.measure import BACKENDS, FileBenchmark, measure
from tfcompress.benchmark.process import BenchmarkError

__all__ = ["BACKENDS", "BenchmarkError", "FileBenchmark", "machine", "measure"]


class _CallablePackage(types.ModuleType):
    """A module that can be called.

    Importing `tfcompress.benchmark` binds that name in `tfcompress` to this module, whatever
    function stood there before. So that the call in the README works in any order of imports, the
    module itself takes the call; Python lets a module's class be replaced for such uses.
    """

    __call__ = staticmethod(measure)


sys.modules[__name__].__class__ = _CallablePackage
# Without it, tools would take the first parameter for a `self`.
__signature__ = inspect.signature(measure)
