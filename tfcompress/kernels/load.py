"""Loads the kernels as a delegate of LiteRT's interpreter."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from tfcompress.errors import InputError, unknown_name
from tfcompress.kernels.build import library, names_in
from tfcompress.kernels.cache import BuildError
from tfcompress.plain_text import one_line, spell_out

# Slower than LiteRT's own kernels; the others are faster than its 8-bit ones.
_PORTABLE = "portable"
_FORCED = "TFCOMPRESS_KERNEL"
# What runs fast on any processor.
_REMEDY = "a file of storage int8 or xnor+int8 runs on LiteRT's int8 kernels"
_NO_VECTORS = "this processor has none of AVX-512 VPOPCNTDQ, AVX2 and NEON"


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
        raise InputError(one_line(error)) from error


def active() -> str | None:
    """Returns the name of the kernel that runs 1-bit ops here.

    Returns:
        `avx512`, `avx2`, `neon`, or `portable`, which is slower than LiteRT's own kernels:
        `$TFCOMPRESS_KERNEL` if that is set, else the fastest. None if the kernels can't be compiled
        or loaded, or this processor doesn't run the one that is set.
    """
    try:
        available = names()
    except BuildError:
        return None
    forced = os.environ.get(_FORCED)
    if forced:
        return forced if forced in available else None
    return available[0]


def missing() -> str | None:
    """Returns one line that says why 1-bit ops aren't worth running here; None if they are.

    The portable kernel isn't worth it unless `$TFCOMPRESS_KERNEL` asks for it.
    """
    try:
        available = names()
    except BuildError as error:
        return str(error)
    forced = os.environ.get(_FORCED)
    if forced:
        runs = forced in available
        return None if runs else f"this processor doesn't run {forced} of ${_FORCED}"
    return _NO_VECTORS if active() == _PORTABLE else None


def slow() -> str | None:
    """Returns one line that says why 1-bit ops run slowly here; None if they don't, or not at all.

    A file without int8 ops beside them runs all the same.
    """
    if active() != _PORTABLE:
        return None
    why = f"${_FORCED} asks for it" if os.environ.get(_FORCED) else _NO_VECTORS
    return f"the portable kernel runs 1-bit ops, slower than LiteRT's own run floats: {why}"


def report_unused(why: str) -> None:
    """Says on stderr, once for each reason, that binary networks run on built-in int8 kernels."""
    _print_once(f"1-bit kernels aren't used ({why}); binary networks run on built-in int8 kernels")


def report_slow(why: str) -> None:
    """Says on stderr, once for each reason, that 1-bit ops run slowly."""
    _print_once(f"warning: {why}; {_REMEDY}")


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of the kernels that this processor runs, fastest first.

    Raises:
        BuildError: the kernels can't be compiled or loaded here.
    """
    return names_in(library())


@functools.cache
def _print_once(line: str) -> None:
    print(spell_out(line), file=sys.stderr)
