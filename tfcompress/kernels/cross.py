"""Compiles the kernels for other systems, by the C compiler in the package `ziglang`."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tfcompress.errors import InputError, require
from tfcompress.kernels.build import FLAGS, PACKAGE, SOURCES, compile_to, run_compiler


@dataclasses.dataclass(frozen=True)
class Target:
    """A system for which there is a library.

    Attributes:
        name: as the command's flag has it.
        triple: Zig's name for it.
        suffix: of its shared libraries.
        tag: of its wheels; None where Python's packages aren't installed.
        system: what `sys.platform` and `platform.machine()` say there.
    """

    name: str
    triple: str
    suffix: str
    tag: str | None
    system: tuple[str, str]

    def here(self) -> bool:
        """Whether this is the system that is running."""
        return self.system == (sys.platform, platform.machine())


TARGETS = {
    target.name: target
    for target in (
        Target("linux-x86_64", "x86_64-linux-gnu.2.17", ".so", "manylinux_2_17_x86_64",
               ("linux", "x86_64")),
        Target("linux-aarch64", "aarch64-linux-gnu.2.17", ".so", "manylinux_2_17_aarch64",
               ("linux", "aarch64")),
        Target("macos-arm64", "aarch64-macos.11.0", ".dylib", "macosx_11_0_arm64",
               ("darwin", "arm64")),
        Target("windows-x86_64", "x86_64-windows-gnu", ".dll", "win_amd64", ("win32", "AMD64")),
        Target("android-arm64", "aarch64-linux-musl", ".so", None, ("android", "aarch64")),
    )
}  # fmt: skip
# Zig has no C library of Android's. What we call of one is declared alike in musl, and the types
# that we hand over (mutexes, condition variables, thread numbers) have the same sizes in both.
_ANDROID_CALLS = (
    "calloc",
    "free",
    "getenv",
    "getpid",
    "malloc",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "posix_memalign",
    "snprintf",
    "strcmp",
    "pthread_cond_broadcast",
    "pthread_cond_destroy",
    "pthread_cond_init",
    "pthread_cond_wait",
    "pthread_create",
    "pthread_join",
    "pthread_mutex_destroy",
    "pthread_mutex_init",
    "pthread_mutex_lock",
    "pthread_mutex_trylock",
    "pthread_mutex_unlock",
    "sched_yield",
)


def zig() -> list[str]:
    """The command in `$ZIG`, else the package `ziglang` or the program `zig`.

    Raises:
        InputError: there is none.
    """
    if named := shlex.split(os.environ.get("ZIG", "")):
        return named
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang"]
    if found := shutil.which("zig"):
        return [found]
    raise InputError(
        "no compiler for other systems: pip install 'tfcompress[wheels]', which brings ziglang"
    )


def library(target: Target) -> bytes:
    """The kernels as a shared library for another system.

    Raises:
        InputError: there is no compiler.
        BuildError: it fails.
    """
    command = [*zig(), "cc", "-target", target.triple]
    # A linker may leave other files beside what was asked for.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"lib{PACKAGE}{target.suffix}"
        if target.tag is None:
            _link_for_android(command, path)
        else:
            # Else the library would name this folder as its place.
            named = [f"-Wl,-install_name,@rpath/{path.name}"] if target.suffix == ".dylib" else []
            compile_to(path, [*command, "-s", *named])
        return path.read_bytes()


def licenses(target: Target) -> dict[str, str]:
    """By name, the licences of what stands in a library beside our own code."""
    if target.system[0] != "win32":
        return {}
    said = subprocess.run([*zig(), "env"], capture_output=True, text=True, check=True).stdout
    lib = re.search(r'lib_dir"?\s*[=:]\s*"([^"]+)"', said)
    require(lib is not None, f"zig env doesn't say where its libraries are: {said[:80]!r}")
    assert lib is not None
    mingw = Path(lib[1]) / "libc" / "mingw"
    threads = (mingw / "winpthreads" / "mutex.c").read_text()
    return {
        "mingw-w64.txt": (mingw / "COPYING").read_text(),
        "winpthreads.txt": threads[: threads.index("*/")].lstrip("/* \n"),
    }


def _link_for_android(command: list[str], path: Path) -> None:
    """A library that asks for Android's `libc.so`, of which only the names are known here."""
    folder = path.parent
    stub = folder / "stub"
    stub.with_suffix(".c").write_text(
        "".join(f"void {name}(void) {{}}\n" for name in _ANDROID_CALLS)
    )
    compiling = [*command, *(flag for flag in FLAGS if flag != "-shared"), "-c"]
    plain = ["-fno-builtin", "-fvisibility=default", "-w"]
    run_compiler([*compiling, *plain, f"{stub}.c", "-o", f"{stub}.o"])
    objects = []
    for source in sorted(SOURCES.glob("*.c")):
        objects.append(str(folder / f"{source.stem}.o"))
        # Atomic operations without a library's help.
        run_compiler([*compiling, "-mno-outline-atomics", str(source), "-o", objects[-1]])
    link = [*zig(), "ld.lld", "-shared", "-z", "max-page-size=16384", "--hash-style=both", "-s"]
    libc = str(folder / "libc.so")
    run_compiler([*link, "-soname", "libc.so", f"{stub}.o", "-o", libc])
    run_compiler([*link, "--no-undefined", "-soname", path.name, *objects, libc, "-o", str(path)])
