"""Finds the compiled kernels, or compiles them once for each version of the sources.

An installed package `tfcompress_kernels` comes first (`python -m tfcompress.kernels --wheel` makes
one), then the system's C compiler. `python -m tfcompress.kernels` compiles ahead of the first use.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tfcompress.kernels import cache
from tfcompress.kernels.cache import BuildError
from tfcompress.plain_text import first_line

SOURCES = Path(__file__).parent / "src"
# No contraction: a product and a sum in one rounded step would differ from LiteRT's own ops.
FLAGS = (
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-fPIC",
    "-shared",
    "-pthread",
)
PACKAGE = "tfcompress_kernels"
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
_TIMEOUT_S = 300.0


@functools.cache
def library() -> Path:
    """Returns the path of the shared library, which is compiled if there is none yet.

    A compiled one lies in `$TFCOMPRESS_CACHE`, or in the user's cache folder; see `cache`. Its name
    holds a digest of the sources, the compiler and the flags.

    Raises:
        BuildError: there is no compiler, it fails, or the cache folder can't be used.
    """
    if (path := installed()) is not None:
        return path
    command = compiler()
    folder = cache.folder()
    name = f"xnor-{_digest(command)}"
    path = cache.find(name, SUFFIX, folder)
    if path is None:
        path = cache.keep(name, SUFFIX, folder, lambda to: compile_to(to, command))
    return path


def installed() -> Path | None:
    """Returns the library of an installed `tfcompress_kernels`, if it is made of these sources.

    A library of other sources may know other options: it isn't taken, and a line on stderr says so.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / file_name(SUFFIX)
    if path.is_file():
        return path
    print(
        f"the installed {PACKAGE} isn't used: it was made of other sources than this tfcompress's "
        f"({path.name} isn't in it)",
        file=sys.stderr,
    )
    return None


def file_name(suffix: str) -> str:
    """Returns the library's name in a package, which holds a digest of the sources and flags."""
    return f"xnor-{_sources_digest().hexdigest()[:16]}{suffix}"


def names_in(path: Path) -> tuple[str, ...]:
    """Returns the names of a library's kernels that this processor runs, fastest first.

    Raises:
        BuildError: the library can't be loaded.
    """
    try:
        kernel_name = ctypes.CDLL(str(path)).tfcompress_kernel_name
    except OSError as error:
        raise BuildError(f"the library can't be loaded: {error}") from error
    kernel_name.restype, kernel_name.argtypes = ctypes.c_char_p, [ctypes.c_int]
    names: list[str] = []
    while name := kernel_name(len(names)):
        names.append(name.decode())
    return tuple(names)


def compile_to(path: Path, command: list[str], sources: Path = SOURCES) -> None:
    """Compiles all C files of a folder into one shared library.

    Args:
        path: the library to write.
        command: the compiler, with flags of its own.
        sources: the folder.

    Raises:
        BuildError: the compiler fails; the message holds its first line about an error.
    """
    files = sorted(str(source) for source in sources.glob("*.c"))
    run_compiler([*command, *FLAGS, *files, "-o", str(path), "-lm"])


def run_compiler(command: list[str]) -> None:
    """Runs a compiler or a linker.

    Raises:
        BuildError: the program can't be run or fails; the message holds its first line about an
            error.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} can't be run: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        why = first_line(lines[0] if lines else done.stderr or "no message")
        raise BuildError(f"{command[0]} failed: {why}")


def compiler() -> list[str]:
    """Returns the command in `$CC`, else the first of cc, gcc and clang that is installed.

    Raises:
        BuildError: there is none.
    """
    from_environment = shlex.split(os.environ.get("CC", ""))
    for command in [from_environment] if from_environment else [["cc"], ["gcc"], ["clang"]]:
        if program := shutil.which(command[0]):
            return [program, *command[1:]]
    raise BuildError(
        f"no C compiler: {from_environment[0]} of $CC isn't there"
        if from_environment
        else "no C compiler: none of cc, gcc and clang is there"
    )


def _digest(command: list[str]) -> str:
    """Returns a digest of everything that a library compiled here depends on."""
    state = os.stat(command[0])
    parts = [platform.machine(), sys.platform, *command, str((state.st_size, state.st_mtime_ns))]
    digest = _sources_digest()
    digest.update("\0".join(parts).encode())
    return digest.hexdigest()[:16]


def _sources_digest() -> hashlib._Hash:
    digest = hashlib.sha256("\0".join(FLAGS).encode())
    for source in sorted(SOURCES.iterdir()):
        if source.suffix in (".c", ".h", ".inc"):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest
