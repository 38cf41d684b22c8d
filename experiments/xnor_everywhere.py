"""Tests the 1-bit kernels on other processors and on wrong files, and compiles them elsewhere.

Run:

    .venv/bin/python -m pip install 'tfcompress[wheels]'
    .venv/bin/python experiments/xnor_everywhere.py --output=build/xnor_everywhere

A few minutes; qemu-aarch64 must be there. The programs are those of `tests/kernels`:
random convolutions and max poolings against loops over single values (signs, levels of 2 bits,
bytes), ops made of random bytes in a stand-in for the interpreter, and whole files with something
wrong in LiteRT's interpreter.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from measurements import Measurements, Row, Step, conduct, parser
from page import Page

from tfcompress.kernels import __main__ as kernels_command
from tfcompress.kernels import cross
from tfcompress.kernels.build import FLAGS, SOURCES, compile_to, compiler

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "kernels" / "c"
PROGRAM = ("fake_runtime.c", "fuzz.c", "convs.c", "pools.c", "unit.c")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
PROCESSES = 4


KEYS = {
    "emulated": ("emulated convolutions", "emulated ops"),
    "sanitized": ("sanitized convolutions", "sanitized ops"),
    "files": ("files with something wrong",),
    "systems": tuple(cross.TARGETS),
}


def page_of(results: Measurements) -> Page:
    tools = results["emulated ops"]["tools"]
    rows = [
        ([row[name] for name in ("what", "where", "how_many", "result")], [key])
        for key, row in results.rows.items()
    ]
    return Page(
        "The 1-bit kernels elsewhere",
        "Convolutions of 1 to 700 channels and 1 to 200 filters, kernels of 1 to 7, strides, "
        "dilations, pads, batches, all types, with and without what may stand behind them, on 1 to "
        "3 threads; each output must be the oracle's to the bit. Their inputs are signs, bytes "
        "with weights of 8 bits, or levels of 2 bits; what writes levels gives the next op's "
        "inputs of 2 bits. As many max poolings of signs and levels run beside them, and the "
        "largest window of bytes, 65,536 times 255 times 127. Ops from random bytes are right "
        "ones of which up to three fields were broken: each must run or be refused. Sanitizers are "
        f"those for addresses, leaks and undefined behaviour. {tools}.",
        ["what", "where", "how many", "result"],
        rows,
    )


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--convs", type=int, default=500, help="random convolutions")
    flags.add_argument("--ops", type=int, default=100_000, help="ops made of random bytes")
    flags.add_argument("--files", type=int, default=5000, help="whole files with something wrong")
    flags = flags.parse_args()
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None and not flags.render:
        sys.exit("no qemu-aarch64 here")
    lines = {
        "emulated": (emulated, emulator, flags.convs, flags.ops // PROCESSES),
        "sanitized": (sanitized, flags.convs, flags.ops),
        "files": (wrong_files, flags.files),
        "systems": (systems,),
    }
    steps: list[Step] = [
        (KEYS[name], functools.partial(rows_of, KEYS[name], *words))
        for name, words in lines.items()
    ]
    settings = {name: getattr(flags, name) for name in ("convs", "ops", "files")}
    conduct(flags, steps, page_of, settings=settings)


def rows_of(
    keys: tuple[str, ...], lines: Callable[..., Iterable[list[str]]], *args: Any
) -> dict[str, Row]:
    """Runs some of the tests, and returns their lines by key."""
    names = ("what", "where", "how_many", "result")
    with tempfile.TemporaryDirectory() as folder:
        made = list(lines(Path(folder), *args))
    rows = {key: dict(zip(names, line, strict=True)) for key, line in zip(keys, made, strict=True)}
    if "emulated ops" in rows:
        emulator = output_of(args[0], "--version").splitlines()[0]
        rows["emulated ops"]["tools"] = f"Zig {output_of(*cross.zig(), 'version')}, {emulator}"
    return rows


def emulated(folder: Path, emulator: str, convs: int, ops: int) -> Iterable[list[str]]:
    """Runs the C tests for a processor that isn't here."""
    path = folder / "unit-aarch64"
    target = ["cc", "-target", "aarch64-linux-musl", "-static"]
    compile_program([*cross.zig(), *target], path, [flag for flag in FLAGS if flag != "-shared"])
    where = "aarch64, in an emulator"
    yield convolutions(emulator, str(path), where=where, count=convs)
    unit(emulator, str(path), first=0, convs=0, ops=ops)
    yield ["ops from random bytes", where, f"{ops:,}", "none crashed"]


def sanitized(folder: Path, convs: int, ops: int) -> Iterable[list[str]]:
    """Runs the same tests here, under the sanitizers."""
    path = folder / "unit"
    compile_program(compiler(), path, ["-std=c11", "-O1", "-ffp-contract=off", *SANITIZERS])
    yield convolutions(str(path), where="here, sanitizers", count=convs)
    each = ops // PROCESSES
    for number in range(PROCESSES):
        unit(str(path), first=number * each, convs=0, ops=each)
    made = f"{PROCESSES * each:,} in {PROCESSES} processes"
    yield ["ops from random bytes", "here, sanitizers", made, "no finding, no leak"]


def wrong_files(folder: Path, count: int) -> Iterable[list[str]]:
    """Runs whole files in LiteRT's interpreter, with the kernels under the sanitizers."""
    library = folder / "libxnor_under_test.so"
    compile_to(library, [*compiler(), *SANITIZERS])
    preloaded = [
        output_of(*compiler(), f"-print-file-name={name}")
        for name in ("libasan.so", "libstdc++.so")
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=1:"
        "alloc_dealloc_mismatch=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    words = [sys.executable, "-m", "tests.kernels.mutants", str(library), "0", str(count)]
    done = subprocess.run(
        words, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    fates = json.loads(done.stdout)
    findings = len(fates.pop("found"))
    text = ", ".join(f"{number:,} {fate}" for fate, number in fates.items())
    where = "stock interpreter here, sanitizers"
    yield ["whole files with something wrong", where, f"{count:,}", f"{findings} findings; {text}"]


def systems(folder: Path) -> Iterable[list[str]]:
    """Compiles the kernels for each system."""
    for target in cross.TARGETS.values():
        path, _, result = kernels_command.write_for(target, folder / "dist").partition(": ")
        yield ["library" if target.tag is None else "wheel", target.name, Path(path).name, result]


def compile_program(cc: list[str], path: Path, flags: Iterable[str]) -> None:
    """Compiles the kernels together with the tests' C files."""
    sources = [*sorted(SOURCES.glob("*.c")), *(TESTS / name for name in PROGRAM)]
    words = [*cc, *flags, "-pthread", f"-I{SOURCES}", *map(str, sources), "-o", str(path), "-lm"]
    subprocess.run(words, check=True)


def convolutions(*program: str, where: str, count: int) -> list[str]:
    """Runs the random convolutions, and returns their line."""
    kinds, names = unit(*program, first=0, convs=count, ops=0)
    return [f"random convolutions on {names}", where, f"{count:,}: {kinds}", "all equal"]


def unit(*program: str, first: int, convs: int, ops: int) -> tuple[str, str]:
    """Runs the tests' program, which must pass.

    Returns:
        How many convolutions were of which kind, and the names of the kernels that ran.
    """
    kinds, names = output_of(*program, "0", str(convs), str(first), str(ops)).splitlines()
    return kinds, ", ".join(names.removesuffix("all right").split())


def output_of(*words: str) -> str:
    """Runs a program and returns what it prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
