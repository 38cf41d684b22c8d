"""Files with something wrong, whole, in the real interpreter: each runs or is refused."""

import json
import os
import subprocess
import sys

import pytest

from tfcompress import kernels
from tfcompress.kernels.build import compile_to


def fates(*words, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.mutants", *map(str, words)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=3000,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def sanitized(compiler, path):
    """Compiles the library with the sanitizers; what a program that loads it needs around it."""
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    try:
        compile_to(path, [compiler, *flags])
    except kernels.BuildError:
        pytest.skip(f"{compiler} has no sanitizers here")
    # The second for exceptions, whose throwing the first replaces.
    names = ("libasan.so", "libstdc++.so")
    found = [
        subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True)
        for name in names
    ]
    return {
        "LD_PRELOAD": " ".join(done.stdout.strip() for done in found),
        # LiteRT asks for memory by a file's sizes, and Python keeps its own to the end.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=1:"
        "alloc_dealloc_mismatch=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def test_wrong_options_and_constants(fastest):
    found = fates(kernels.library(), 0, 150, "options")
    assert set(found) == {"ran", "refused", "found"}
    assert found["ran"] + found["refused"] == 150
    assert min(found["ran"], found["refused"]) > 30


@pytest.mark.slow
def test_wrong_files_under_asan(compiler, tmp_path):
    library = tmp_path / "libxnor_under_test.so"
    environment = sanitized(compiler, library)
    found = fates(library, 0, 3000, **environment)
    assert found["found"] == []
    assert "too long" not in found
    assert found["ran"] > 500
    assert found.get("died in LiteRT", 0) < 300
