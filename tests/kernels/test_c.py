"""The C sources' own tests, under the sanitizers: a few here, many with `-m slow`."""

import os
import pathlib
import shutil
import subprocess

import pytest

from tfcompress.kernels.build import SOURCES

HERE = pathlib.Path(__file__).parent / "c"
FLAGS = ["-std=c11", "-g", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pthread"]
FUZZER = ["fake_runtime.c", "fuzz.c"]


def program(compiler, folder, sanitizers, *files):
    """Compiles the sources with some files of tests; skips where there are no sanitizers."""
    path = folder / files[-1].replace(".c", "")
    command = [compiler, *FLAGS, f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    probe = subprocess.run(
        [*command, "-x", "c", "-", "-o", str(path)],
        input=f"int {'LLVMFuzzerTestOneInput' if 'fuzzer' in sanitizers else 'main'}(void) "
        "{ return 0; }",
        capture_output=True,
        text=True,
    )
    if probe.returncode:
        pytest.skip(f"{compiler} has no {sanitizers} sanitizer here")
    command += [f"-I{SOURCES}", *map(str, sorted(SOURCES.glob("*.c")))]
    command += [*(str(HERE / file) for file in files), "-o", str(path), "-lm"]
    subprocess.run(command, check=True)
    return str(path)


def output(*command, timeout=900):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_everything_under_asan(compiler, tmp_path):
    path = program(compiler, tmp_path, "address,undefined", *FUZZER, "unit.c")
    assert output(path, "15", "0", "3000") == "all right\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sanitizers", "ops"), [("address,undefined", "200000"), ("thread", "5000")]
)
def test_much_under_sanitizers(compiler, tmp_path, sanitizers, ops):
    path = program(compiler, tmp_path, sanitizers, *FUZZER, "unit.c")
    assert output(path, "500", "3000", ops) == "all right\n"


@pytest.mark.slow
def test_fuzzer(tmp_path):
    clang = next(filter(None, map(shutil.which, ("clang", "clang-14", "clang-18"))), None)
    if clang is None:
        pytest.skip("no clang, which has the fuzzer")
    path = program(clang, tmp_path, "fuzzer,address,undefined", *FUZZER)
    output(path, "-max_total_time=120", "-max_len=200", "-rss_limit_mb=3000")


@pytest.mark.slow
def test_neon_in_an_emulator(tmp_path):
    """Compiled by `$TFCOMPRESS_AARCH64_CC`, such as `zig cc -target aarch64-linux-musl`."""
    named = os.environ.get("TFCOMPRESS_AARCH64_CC", "aarch64-linux-gnu-gcc").split()
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not shutil.which(named[0]) or emulator is None:
        pytest.skip("no compiler for aarch64, or no qemu to run what it makes")
    path = tmp_path / "unit"
    sources = [*sorted(SOURCES.glob("*.c")), *(HERE / file for file in (*FUZZER, "unit.c"))]
    command = [*named, *FLAGS, "-static", f"-I{SOURCES}", *map(str, sources)]
    subprocess.run([*command, "-o", str(path), "-lm"], check=True)
    assert output(emulator, str(path), "200", "0", "20000") == "all right\n"
