"""1-bit kernels for the stock LiteRT runtime: a delegate in C, built where a compiler is.

`delegate()` gives what `Interpreter(..., experimental_delegates=[...])` takes, `missing()` says why
there is none, `library()` is the file for other programs.
"""

from tfcompress import deprecated
from tfcompress.kernels.build import BuildError, library
from tfcompress.kernels.load import delegate, missing, names, report_unused

__all__ = ["BuildError", "delegate", "library", "missing", "names", "report_unused"]

__getattr__ = deprecated.moved(
    "tfcompress.kernels", {"unused": "tfcompress.kernels.load.report_unused"}
)
