"""Loads the kernels as a delegate of LiteRT's interpreter."""

from __future__ import annotations

import functools
import sys
from typing import Any

from tfcompress.errors import InputError, unknown_name
from tfcompress.kernels.build import BuildError, library, names_in

# Kernels that are faster than LiteRT's 8-bit ones; the portable one is there to compare with.
_FAST = ("avx512", "avx2", "neon")


def delegate(kernel: str | None = None) -> Any:
    """Returns the kernels as a delegate for `ai_edge_litert`'s interpreter.

    It runs on as many threads as the interpreter's `num_threads`. For TensorFlow's own interpreter
    write `tf.lite.experimental.load_delegate(library())`.

    Args:
        kernel: one of `names()`; None for the fastest. `$TFCOMPRESS_KERNEL` overrules it.

    Returns:
        A value for the list `experimental_delegates`.

    Raises:
        InputError: the kernels can't be compiled or loaded here, or there is no such kernel.

    Example:
        >>> from ai_edge_litert.interpreter import Interpreter  # doctest: +SKIP
        >>> Interpreter("m.tflite", experimental_delegates=[delegate()])  # doctest: +SKIP
    """
    try:
        path = library()
    except BuildError as error:
        raise InputError(f"there are no 1-bit kernels here: {error}") from error
    if kernel is not None and kernel not in names():
        raise unknown_name("kernel", kernel, names())
    from ai_edge_litert.interpreter import load_delegate

    try:
        return load_delegate(str(path), {} if kernel is None else {"kernel": kernel})
    except (ValueError, OSError) as error:  # Of $TFCOMPRESS_KERNEL; or of another system.
        raise InputError(" ".join(str(error).split())) from error


def missing() -> str | None:
    """Returns one line that says why files with 1-bit ops can't run fast here; None if they can."""
    try:
        available = names()
    except BuildError as error:
        return str(error)
    if not set(_FAST) & set(available):
        return "this processor has none of AVX-512 VPOPCNTDQ, AVX2 and NEON"
    return None


def report_unused(why: str) -> None:
    """Says on stderr, once for each reason, that binary networks run on built-in int8 kernels."""
    _print_once(f"1-bit kernels aren't used ({why}); binary networks run on built-in int8 kernels")


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of the kernels that this processor runs, fastest first.

    Raises:
        BuildError: the kernels can't be compiled or loaded here.
    """
    return names_in(library())


@functools.cache
def _print_once(line: str) -> None:
    print(line, file=sys.stderr)
