"""The command `python -m tfcompress.kernels`: compiles the kernels for this or other systems."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tfcompress import commands, files
from tfcompress.errors import InputError, require, unknown_name
from tfcompress.kernels import cross, wheel
from tfcompress.kernels.build import PACKAGE, library, names_in
from tfcompress.kernels.cache import BuildError
from tfcompress.kernels.cross import TARGETS, Target

USAGE = """Builds the 1-bit kernels with the system's C compiler, ahead of their first use.

  python -m tfcompress.kernels
  python -m tfcompress.kernels --wheel=linux-aarch64,windows-x86_64 --out=dist

Without a flag it prints where the library is, or why there is none; nothing else needs one. With
--wheel it compiles for other systems with the package ziglang (pip install 'tfcompress[wheels]')
and writes wheels, and for Android a library that benchmark_model takes as --external_delegate_path.
Exit status: 0 done, 2 bad usage, or a compiler that isn't installed or fails.

Flags:"""


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_list("wheel", [], f"systems, or all: {', '.join(TARGETS)}", flag_values=values)
    flags.DEFINE_string("out", "dist", "folder for what --wheel writes", flag_values=values)
    return values


def run(argv: Sequence[str]) -> None:
    """Parses the flags, compiles, and prints where the results are.

    Raises:
        InputError: bad usage, or a compiler for other systems that isn't installed or fails.
    """
    values = parser()
    rest = commands.parse_arguments(values, argv, USAGE)
    if rest is None:
        return
    require(not rest, f"unknown words: {' '.join(rest)}; see --help")
    if values.wheel:
        for target in targets(values.wheel):
            print(write_for(target, Path(values.out)), flush=True)
        return
    try:
        print(f"1-bit kernels: {library()}")
    except BuildError as error:
        print(f"1-bit kernels not built ({error}); binary networks run on built-in int8 kernels")


def targets(systems: Sequence[str]) -> list[Target]:
    """Returns the targets of these names; for `all` every one.

    Raises:
        InputError: a name is unknown.
    """
    if list(systems) == ["all"]:
        return list(TARGETS.values())
    for name in systems:
        if name not in TARGETS:
            raise unknown_name("system", name, [*TARGETS, "all"])
    return [TARGETS[name] for name in systems]


def write_for(target: Target, folder: Path) -> str:
    """Compiles the kernels for one system and writes a wheel, or for Android a library.

    Returns:
        A line that says what was written, and whether the library was run here.

    Raises:
        InputError: the compiler isn't installed or fails, or the folder can't be written.
    """
    try:
        content = cross.library(target)
        folder.mkdir(parents=True, exist_ok=True)
        tried = try_here(content, target)
        if target.tag is None:
            name = f"lib{PACKAGE}-{target.name}{target.suffix}"
            path = files.write(folder / name, content)
        else:
            path = wheel.pack(content, target, folder, cross.licenses(target))
    except (BuildError, OSError) as error:
        raise InputError(f"{target.name}: {error}") from error
    return f"{path}: {path.stat().st_size:,} bytes, {tried}"


def try_here(content: bytes, target: Target) -> str:
    """Returns whether a library runs on this system, and the kernels it has if it does."""
    if not target.here():
        return "built, not run here"
    with tempfile.TemporaryDirectory() as folder:
        path = files.write(Path(folder) / f"library{target.suffix}", content)
        return f"run here: {', '.join(names_in(path))}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
