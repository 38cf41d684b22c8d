"""Building, choosing and loading the kernels."""

import os
import subprocess
import sys

import pytest

from tfcompress import kernels
from tfcompress.errors import InputError
from tfcompress.kernels import build

# Without a wheel of the kernels, which would come before the compiler.
UNINSTALLED = "import sys; sys.modules['tfcompress_kernels'] = None\n"


def asked(code, before=UNINSTALLED, **environment):
    """What a fresh process prints, with its own environment."""
    done = subprocess.run(
        [sys.executable, "-c", f"{before}from tfcompress import kernels\n{code}"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_built_once_and_private(compiler, tmp_path):
    code = "p = kernels.library(); print(p, p.stat().st_mtime_ns)"
    folder = tmp_path / "cache"
    first, second = (asked(code, TFCOMPRESS_CACHE=str(folder)) for _ in range(2))
    assert first == second
    assert [entry.suffix for entry in folder.iterdir()] == [build.SUFFIX]
    assert folder.stat().st_mode & 0o022 == 0


def test_without_a_compiler_says_so_once(joined, tmp_path):
    code = (
        "from tfcompress.runtime import LiteModel\n"
        f"print([LiteModel({str(joined[2])!r}).signature for _ in range(3)])"
    )
    cache = tmp_path / "cache"
    said = asked(code, CC="no-such-compiler", TFCOMPRESS_CACHE=str(cache))
    assert "['serving_default', 'serving_default', 'serving_default']\n" in said
    assert said.count("1-bit kernels aren't used") == 1
    assert "no-such-compiler" in said
    assert not cache.exists()


def test_a_compiler_that_fails_leaves_nothing(tmp_path):
    failing = f"{sys.executable} -c exit(1)"
    said = asked("print(kernels.missing())", CC=failing, TFCOMPRESS_CACHE=str(tmp_path))
    assert f"{sys.executable} failed" in said
    assert not list(tmp_path.iterdir())


def test_a_folder_that_others_can_write(compiler, tmp_path):
    tmp_path.chmod(0o777)
    said = asked("print(kernels.missing())", TFCOMPRESS_CACHE=str(tmp_path))
    assert "can be written by others" in said


def test_changed_sources_are_another_library(tmp_path, monkeypatch):
    (tmp_path / "a.c").write_text("int a;\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    before = build._digest([sys.executable])
    (tmp_path / "a.c").write_text("int b;\n")
    assert build._digest([sys.executable]) != before


def test_unknown_kernel(fastest, monkeypatch):
    with pytest.raises(InputError, match="unknown kernel 'avx51'"):
        kernels.delegate("avx51")
    monkeypatch.setenv("TFCOMPRESS_KERNEL", "cray")
    with pytest.raises(InputError, match="this processor doesn't run the kernel 'cray'"):
        kernels.delegate()


def test_portable_is_there_and_last(fastest):
    assert kernels.names()[-1] == "portable"


def test_environment_overrules(fastest):
    code = (
        "from tests.kernels import op_files\n"
        "try: kernels.delegate('portable')\n"
        "except Exception as error: print(error)"
    )
    assert "'none'" in asked(code, before="", TFCOMPRESS_KERNEL="none")
