"""1-bit kernels for the stock LiteRT runtime: a delegate in C, built where a compiler is.

`delegate()` gives what `Interpreter(..., experimental_delegates=[...])` takes, `missing()` says why
there is none, `library()` is the file for other programs.
"""

from tfcompress.kernels.build import BuildError, library
from tfcompress.kernels.load import delegate, missing, names, unused

__all__ = ["BuildError", "delegate", "library", "missing", "names", "unused"]
