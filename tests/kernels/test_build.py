"""Building, choosing and loading the kernels."""

import ctypes
import os
import subprocess
import sys

import pytest

from tfcompress import kernels
from tfcompress.errors import InputError
from tfcompress.kernels import build, load

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
    assert sorted(one.suffix for one in folder.iterdir()) == sorted([".sha256", build.SUFFIX])
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


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_can_write(compiler, tmp_path, mode):
    tmp_path.chmod(mode)
    said = asked("print(kernels.missing())", TFCOMPRESS_CACHE=str(tmp_path))
    assert "can be written by others" in said


@pytest.mark.parametrize("name", ["a.c", "a.h", "a.inc"])
def test_changed_sources_are_another_library(tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("int a;\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    before = build._digest([sys.executable]), build.file_name(".so")
    (tmp_path / name).write_text("int b;\n")
    after = build._digest([sys.executable]), build.file_name(".so")
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_other_flags_are_another_library(monkeypatch):
    before = build._digest([sys.executable]), build.file_name(".so")
    assert build._digest([sys.executable, "-O1"]) != before[0]
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    assert build._digest([sys.executable]) != before[0]
    assert build.file_name(".so") != before[1]


def test_products_and_sums_are_rounded_apart():
    assert "-ffp-contract=off" in build.FLAGS


def test_unknown_kernel(fastest, monkeypatch):
    with pytest.raises(InputError, match="unknown kernel 'avx51'"):
        kernels.delegate("avx51")
    monkeypatch.setenv("TFCOMPRESS_KERNEL", "cray")
    with pytest.raises(InputError, match="this processor doesn't run the kernel 'cray'"):
        kernels.delegate()


def test_portable_is_there_and_last(fastest):
    assert kernels.names()[-1] == "portable"
    assert [n for n in ("avx512", "avx2", "neon", "portable") if n in kernels.names()] == list(
        kernels.names()
    )


@pytest.mark.parametrize("name", ["avx512", "avx2", "neon"])
def test_one_fast_kernel_is_enough(monkeypatch, name):
    monkeypatch.delenv("TFCOMPRESS_KERNEL", raising=False)
    monkeypatch.setattr(load, "names", lambda: (name, "portable"))
    assert kernels.missing() is None
    monkeypatch.setattr(load, "names", lambda: ("portable",))
    assert "none of AVX-512 VPOPCNTDQ, AVX2 and NEON" in kernels.missing()


def test_the_active_kernel(monkeypatch):
    monkeypatch.delenv("TFCOMPRESS_KERNEL", raising=False)
    monkeypatch.setattr(load, "names", lambda: ("avx2", "portable"))
    assert (kernels.active(), kernels.slow()) == ("avx2", None)
    monkeypatch.setattr(load, "names", lambda: ("portable",))
    assert kernels.active() == "portable"
    assert "slower than LiteRT's own run floats: this processor has none of" in kernels.slow()


def test_a_kernel_that_is_forced(monkeypatch):
    monkeypatch.setattr(load, "names", lambda: ("avx2", "portable"))
    monkeypatch.setenv("TFCOMPRESS_KERNEL", "portable")
    assert (kernels.active(), kernels.missing()) == ("portable", None)
    assert kernels.slow().endswith("floats: $TFCOMPRESS_KERNEL asks for it")
    monkeypatch.setenv("TFCOMPRESS_KERNEL", "avx512")
    assert (kernels.active(), kernels.slow()) == (None, None)
    assert kernels.missing() == "this processor doesn't run avx512 of $TFCOMPRESS_KERNEL"


def test_no_kernel_without_a_library(monkeypatch):
    def none():
        raise kernels.BuildError("no C compiler")

    monkeypatch.setattr(load, "names", none)
    assert (kernels.active(), kernels.missing(), kernels.slow()) == (None, "no C compiler", None)


def kernel_of(**options):
    """The name of the kernel that the library itself takes for these options.

    It stands in `struct xk_delegate`: behind TFLite's struct, of 11 fields of 8 bytes, is the
    kernel's struct, which begins with its name.
    """
    library = ctypes.CDLL(str(kernels.library()))
    library.tflite_plugin_create_delegate.restype = ctypes.c_void_p
    library.tflite_plugin_destroy_delegate.argtypes = [ctypes.c_void_p]
    strings = ctypes.c_char_p * len(options)
    keys, values = (strings(*(w.encode() for w in words)) for words in (options, options.values()))
    delegate = library.tflite_plugin_create_delegate(
        keys, values, ctypes.c_size_t(len(options)), None
    )
    if delegate is None:
        return None
    kernel = ctypes.c_void_p.from_address(delegate + 11 * 8).value
    name = ctypes.c_char_p.from_address(kernel).value.decode()
    library.tflite_plugin_destroy_delegate(delegate)
    return name


def test_the_kernel_that_is_named_runs(fastest, monkeypatch):
    monkeypatch.delenv("TFCOMPRESS_KERNEL", raising=False)
    assert kernel_of() == fastest
    for name in kernels.names():
        assert kernel_of(kernel=name) == name
    assert kernel_of(kernel="cray") is None
    assert kernel_of(kernels="portable") is None


def test_the_name_is_handed_to_the_library(fastest, monkeypatch):
    monkeypatch.setattr("ai_edge_litert.interpreter.load_delegate", lambda *words: words)
    assert kernels.delegate() == (str(kernels.library()), {})
    assert kernels.delegate("portable") == (str(kernels.library()), {"kernel": "portable"})


def test_environment_overrules(fastest):
    code = (
        "from tests.kernels import op_files\n"
        "try: kernels.delegate('portable')\n"
        "except Exception as error: print(error)"
    )
    assert "'none'" in asked(code, before="", TFCOMPRESS_KERNEL="none")
