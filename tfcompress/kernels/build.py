"""Finds the kernels compiled, or compiles them, once for each state of the sources.

A package `tfcompress_kernels` that is installed comes first (`python -m tfcompress.kernels --wheel`
makes one), then the system's C compiler. `python -m tfcompress.kernels` builds ahead of first use.
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
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "src"
# No contraction: a product and a sum in one rounded step would differ from the stock ops.
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


class BuildError(RuntimeError):
    """The kernels can't be built here; the message is one line that says why."""


@functools.cache
def library() -> Path:
    """The shared library, which is built if none is installed and it isn't there yet.

    What is built lies in `$TFCOMPRESS_CACHE`, or in the user's cache folder, under a name that
    holds a digest of the sources, the compiler and the flags.

    Raises:
        BuildError: there is no compiler, it fails, or the cache folder can't be used.
    """
    if found := installed():
        return found
    command = compiler()
    folder = _folder()
    path = folder / f"xnor-{_digest(command)}{SUFFIX}"
    if path.is_file():
        return path
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=folder)
    except OSError as error:
        raise BuildError(f"the cache folder {folder} can't be written: {error.strerror}") from error
    os.close(descriptor)
    beside = Path(name)
    try:
        compile_to(beside, command)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def installed() -> Path | None:
    """The library of an installed `tfcompress_kernels`, if it was made of these very sources.

    One of other sources isn't loaded: it may know other options. That is said on stderr.
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
    """What the library is called in a package: a digest of sources and flags says which it is."""
    return f"xnor-{_sources_digest().hexdigest()[:16]}{suffix}"


def names_in(path: Path) -> tuple[str, ...]:
    """The kernels in a library that this processor runs, fastest first.

    Raises:
        BuildError: it can't be loaded.
    """
    try:
        found = ctypes.CDLL(str(path)).tfcompress_kernel_name
    except OSError as error:
        raise BuildError(f"the library can't be loaded: {error}") from error
    found.restype, found.argtypes = ctypes.c_char_p, [ctypes.c_int]
    listed: list[str] = []
    while name := found(len(listed)):
        listed.append(name.decode())
    return tuple(listed)


def compile_to(path: Path, command: list[str], sources: Path = SOURCES) -> None:
    """Compiles all sources of a folder into one shared library.

    Raises:
        BuildError: the compiler fails; the message holds its first line that says so.
    """
    files = sorted(str(source) for source in sources.glob("*.c"))
    run_compiler([*command, *FLAGS, *files, "-o", str(path), "-lm"])


def run_compiler(command: list[str]) -> None:
    """Runs a compiler or a linker.

    Raises:
        BuildError: it fails; the message holds its first line that says so.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} can't be run: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        first = (lines or done.stderr.splitlines() or ["no message"])[0]
        raise BuildError(f"{command[0]} failed: {first.strip()}")


def compiler() -> list[str]:
    """The command in `$CC`, else the first compiler that is there.

    Raises:
        BuildError: there is none.
    """
    named = shlex.split(os.environ.get("CC", ""))
    for command in [named] if named else [["cc"], ["gcc"], ["clang"]]:
        if found := shutil.which(command[0]):
            return [found, *command[1:]]
    raise BuildError(
        f"no C compiler: {named[0]} of $CC isn't there"
        if named
        else "no C compiler: none of cc, gcc and clang is there"
    )


def _folder() -> Path:
    """The cache folder, which only this user may write: what lies there is loaded as code."""
    named = os.environ.get("TFCOMPRESS_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (
            Path(named)
            if named
            else (Path(home) if home else Path.home() / ".cache") / "tfcompress"
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
    except (OSError, RuntimeError) as error:
        raise BuildError(f"no cache folder for the kernels: {error}") from error
    if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & 0o022):
        raise BuildError(
            f"the cache folder {folder} can be written by others, and what lies there is loaded "
            "as code: chmod go-w it, or name another in TFCOMPRESS_CACHE"
        )
    return folder


def _digest(command: list[str]) -> str:
    """Of everything that a library built here depends on."""
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
