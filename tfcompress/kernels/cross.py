"""Compiles the kernels for other systems with the C compiler in the package `ziglang`."""

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
    """A system that the kernels can be compiled for.

    Attributes:
        name: what the command's flag `--wheel` calls it.
        triple: what Zig calls it.
        suffix: the ending of its shared libraries' names.
        tag: the platform tag of its wheels; None where Python packages aren't installed.
        system: what `sys.platform` and `platform.machine()` are there.
    """

    name: str
    triple: str
    suffix: str
    tag: str | None
    system: tuple[str, str]

    def here(self) -> bool:
        """Returns whether this process runs on it."""
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
# Zig doesn't bring Android's C library. The functions that the kernels call are declared alike in
# musl, and the types they pass (mutexes, condition variables, thread ids) have the same sizes.
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
    """Returns the command in `$ZIG`, else that of the package `ziglang` or the program `zig`.

    Raises:
        InputError: none of them is installed.
    """
    if named := shlex.split(os.environ.get("ZIG", "")):
        return named
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang"]
    if program := shutil.which("zig"):
        return [program]
    raise InputError(
        "no compiler for other systems: pip install 'tfcompress[wheels]', which brings ziglang"
    )


def library(target: Target) -> bytes:
    """Returns the bytes of the kernels' shared library for another system.

    Raises:
        InputError: no compiler for other systems is installed.
        BuildError: the compiler fails.
    """
    command = [*zig(), "cc", "-target", target.triple]
    # A linker may leave other files beside what was asked for.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"lib{PACKAGE}{target.suffix}"
        if target.tag is None:
            _link_for_android(command, path)
        else:
            # Else the library would name this folder as its place.
            place = [f"-Wl,-install_name,@rpath/{path.name}"] if target.suffix == ".dylib" else []
            compile_to(path, [*command, "-s", *place])
        return path.read_bytes()


def licenses(target: Target) -> dict[str, str]:
    """Returns by file name the licences of the other people's code in a system's library."""
    if target.system[0] != "win32":
        return {}
    environment = subprocess.run([*zig(), "env"], capture_output=True, text=True, check=True).stdout
    lib = re.search(r'lib_dir"?\s*[=:]\s*"([^"]+)"', environment)
    require(lib is not None, f"zig env doesn't say where its libraries are: {environment[:80]!r}")
    assert lib is not None
    mingw = Path(lib[1]) / "libc" / "mingw"
    threads = (mingw / "winpthreads" / "mutex.c").read_text()
    return {
        "mingw-w64.txt": (mingw / "COPYING").read_text(),
        "winpthreads.txt": threads[: threads.index("*/")].lstrip("/* \n"),
    }


def _link_for_android(command: list[str], path: Path) -> None:
    """Compiles a library that loads Android's `libc.so`, of which only the names are known here."""
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
