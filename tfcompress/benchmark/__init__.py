"""Measures `.tflite` files: size, multiply-accumulates, latency and peak memory, per backend.

The room is also the door: `tfcompress.benchmark("m.tflite")` measures, and
`tfcompress.benchmark.latency` is still a module. `measure` says what the arguments mean.
"""

import os
import sys
import types
from collections.abc import Sequence

from tfcompress.benchmark.machine import machine
from tfcompress.benchmark.measure import BACKENDS, FileBenchmark, measure
from tfcompress.benchmark.process import BenchmarkError

__all__ = ["BACKENDS", "BenchmarkError", "FileBenchmark", "machine", "measure"]


class _Room(types.ModuleType):
    """A module that can be called.

    Importing `tfcompress.benchmark` binds that name in `tfcompress` to this module, whatever
    function stood there before. So that the call in the README works in any order of imports, the
    module itself takes the call; Python allows a module's class to be replaced for such uses.
    """

    def __call__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        backends: str | Sequence[str] = ("cpu",),
        threads: int | Sequence[int] = 1,
        runs: int = 200,
        min_seconds: float = 1.0,
        timeout_s: float = 600.0,
        ops: bool = False,
        benchmark_model: str | os.PathLike[str] | None = None,
    ) -> list[FileBenchmark]:
        """See `measure`."""
        return measure(
            paths,
            backends=backends,
            threads=threads,
            runs=runs,
            min_seconds=min_seconds,
            timeout_s=timeout_s,
            ops=ops,
            benchmark_model=benchmark_model,
        )


_Room.__call__.__doc__ = measure.__doc__
sys.modules[__name__].__class__ = _Room
