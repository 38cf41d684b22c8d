"""1-bit kernels for LiteRT as it is installed: a delegate in C, compiled on first use.

`delegate()` returns what `Interpreter(..., experimental_delegates=[...])` takes, `active()` names
the kernel that runs, `missing()` says why there is none, and `library()` returns the path of the
shared library, for other programs.
"""

from tfcompress import deprecated
from tfcompress.kernels.build import library
from tfcompress.kernels.cache import BuildError
from tfcompress.kernels.load import (
    active,
    delegate,
    missing,
    names,
    report_slow,
    report_unused,
    slow,
)

__all__ = [
    "BuildError",
    "active",
    "delegate",
    "library",
    "missing",
    "names",
    "report_slow",
    "report_unused",
    "slow",
]

__getattr__ = deprecated.moved(
    "tfcompress.kernels", {"unused": "tfcompress.kernels.load.report_unused"}
)
