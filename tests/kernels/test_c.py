"""The C sources' own tests, under the sanitizers: a few here, many with `-m slow`."""

import pathlib
import shutil
import subprocess

import pytest

from tfcompress.kernels.build import SOURCES

HERE = pathlib.Path(__file__).parent / "c"
FLAGS = ["-std=c11", "-g", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pthread"]
FUZZER = ["fake_runtime.c", "fuzz.c"]
UNIT = [*FUZZER, "convs.c", "pools.c", "unit.c"]


def program(compiler, folder, sanitizers, *files, sources=SOURCES):
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
    command += [f"-I{sources}", *map(str, sorted(sources.glob("*.c")))]
    command += [*(str(HERE / file) for file in files), "-o", str(path), "-lm"]
    subprocess.run(command, check=True)
    return str(path)


def output(*command, timeout=900):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def kernels_that_were_right(*command):
    """Of `unit`'s last line; it ends with an error if one wasn't."""
    last = output(*command).splitlines()[-1]
    assert last.endswith(" all right")
    return last.removesuffix(" all right").split()


def test_everything_under_asan(compiler, tmp_path):
    path = program(compiler, tmp_path, "address,undefined", *UNIT)
    assert kernels_that_were_right(path, "0", "15", "0", "3000")[-1] == "portable"


def test_a_leak_would_be_seen(compiler, tmp_path):
    """Else the test above would say nothing about memory that isn't given back."""
    (tmp_path / "leak.c").write_text(
        "#include <stdlib.h>\nint main(void) { volatile char *p = malloc(9); p = 0; return !!p; }"
    )
    path = str(tmp_path / "leak")
    done = subprocess.run(
        [compiler, "-g", "-fsanitize=address", str(tmp_path / "leak.c"), "-o", path],
        capture_output=True,
    )
    if done.returncode:
        pytest.skip(f"{compiler} has no address sanitizer here")
    said = subprocess.run([path], capture_output=True, text=True)
    assert "detected memory leaks" in said.stderr
    assert said.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sanitizers", "ops"), [("address,undefined", "200000"), ("thread", "5000")]
)
def test_much_under_sanitizers(compiler, tmp_path, sanitizers, ops):
    path = program(compiler, tmp_path, sanitizers, *UNIT)
    assert kernels_that_were_right(path, "15", "500", "3000", ops)


@pytest.mark.slow
def test_a_missing_check_would_be_seen(compiler, tmp_path):
    """The same on sources that believe what a file says of its constants' sizes."""
    broken = tmp_path / "src"
    shutil.copytree(SOURCES, broken)
    text = (broken / "tensors.c").read_text()
    check = "from->bytes != bytes"
    assert text.count(check) == 1
    (broken / "tensors.c").write_text(text.replace(check, "from->bytes + bytes == 1"))
    path = program(compiler, tmp_path, "address,undefined", *UNIT, sources=broken)
    done = subprocess.run([path, "0", "0", "0", "3000"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


@pytest.mark.slow
def test_fuzzer(tmp_path):
    clang = next(filter(None, map(shutil.which, ("clang", "clang-14", "clang-18"))), None)
    if clang is None:
        pytest.skip("no clang, which has the fuzzer")
    path = program(clang, tmp_path, "fuzzer,address,undefined", *FUZZER)
    output(path, "-max_total_time=120", "-max_len=200", "-rss_limit_mb=3000")


@pytest.mark.slow
def test_neon_in_an_emulator(zig, tmp_path):
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("no qemu to run what is compiled for aarch64")
    path = tmp_path / "unit"
    sources = [*sorted(SOURCES.glob("*.c")), *(HERE / file for file in UNIT)]
    command = [*zig, "cc", "-target", "aarch64-linux-musl", "-static", *FLAGS, "-O2"]
    command += [f"-I{SOURCES}", *map(str, sources), "-o", str(path), "-lm"]
    subprocess.run(command, check=True)
    ran = kernels_that_were_right(emulator, str(path), "0", "500", "0", "20000")
    assert ran == ["neon", "portable"]
